"""Takes pending entries for the relay: whole customers, in the order of their oldest changes, and nobody who is busy.

A *pass* goes through an account's pending entries once, for as long as one relay has the lease. It knows the busy
customers by heart: who was busy when it began, and whom it has taken since, as nobody else makes requests meanwhile.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import accumulate

from django.db.models import Count, Expression, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from integrations.braze.compose import MAX_PER_ARRAY
from integrations.braze.integration import NAME
from integrations.braze.objects import Entry
from integrations.braze.records import ORDER_KINDS
from integrations.braze.rows import from_json, text_of
from integrations.outbox.models import Kind, OutboxEntry, Status

#: Entries looked at for the customers to be taken together.
TAKE = 2_000
#: Entries taken together, of one customer and in all, and no more events of one than a request holds. What a customer
#: has beyond that would not fit anyway.
MOST_OF_CUSTOMER, MOST = 500, 4_000
_EVENTS = Count("pk", filter=Q(kind=Kind.EVENT))
#: Customers that may well fit together, where all that were found do not.
FEW = 400


def pending(account_id: int) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING)


class Pass:
    """`take` goes on where it stopped, until `is_over`.

    A customer is taken once in a pass, with all that is pending: also what was committed late, under an id that we
    have passed already. Whoever is busy is left to the next pass, even if free before that.
    """

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.is_over = False
        self._after = 0
        self._passed: set[str] | None = None
        self._fitted: int | None = None  #: how many of those found fitted, where the last ones had too much together

    def take(self, now: datetime) -> list[Entry]:
        """The next free entries, of whole customers where nobody has very many; [] where nothing free is left."""
        passed = self._passed = self._busy(now) if self._passed is None else self._passed
        ahead = self._free(now).values_list("pk", "customer_external_id")
        # Where those at the front are all busy, the database looks for the next one who is not: there may be millions.
        for look in (ahead, ahead.exclude(customer_external_id__among=passed)):
            if self.is_over:
                break
            rows = list(look.filter(pk__gt=self._after)[:TAKE])
            self.is_over = len(rows) < TAKE
            self._after = rows[-1][0] if rows else self._after
            found: dict[str, int] = {}
            for pk, customer in rows:
                if customer not in passed:
                    found.setdefault(customer, pk)
            if found:
                return self._take(found, passed, now)
        return []

    def _busy(self, now: datetime) -> set[str]:
        """Read before the entries are: whoever becomes free in between is merely passed over."""
        mine = OutboxEntry.objects.filter(account_id=self.account_id, integration=NAME)
        buffered = mine.filter(status=Status.BUFFERED).values_list("customer_external_id", flat=True)
        waiting = mine.filter(status=Status.PENDING, parked=False, due_at__gt=now)
        return set(buffered.iterator(20_000)).union(waiting.values_list("customer_external_id", flat=True))

    def _free(self, now: datetime) -> "QuerySet[OutboxEntry]":
        return pending(self.account_id).filter(Q(parked=False) | Q(due_at__lte=now)).order_by("pk")

    def _of(self, customers: Collection[str], now: datetime) -> "QuerySet[OutboxEntry]":
        return self._free(now).filter(customer_external_id__among=customers)

    def _take(self, found: dict[str, int], passed: set[str], now: datetime) -> list[Entry]:
        """Of the customers found, by the ids of their first entries, as many as can be taken together."""
        if self._fitted is None:
            taken = _entries(self._of(found, now)[:MOST])
            if _is_whole(taken):
                passed.update(found)
                return taken
        sizes, larger = self._sizes(list(found)[: 2 * (self._fitted or FEW)], now)
        chosen = self._fitting(found, sizes)
        passed.update(chosen)
        if larger.isdisjoint(chosen):
            return _entries(self._of(chosen, now))
        numbered = self._of(chosen, now).annotate(place=_so_far(RowNumber()), events=_so_far(_EVENTS))
        taken = _entries(numbered.filter(place__lte=MOST_OF_CUSTOMER, events__lte=MAX_PER_ARRAY))
        return taken + self._of_the_same_orders(taken, now)

    def _sizes(self, customers: Sequence[str], now: datetime) -> tuple[dict[str, int], set[str]]:
        """How much of each is taken, and who has more; of many with much each, only as many are counted as may fit."""
        theirs = self._of(customers, now).order_by().values_list("customer_external_id")
        sizes, larger = dict.fromkeys(customers, 0), set()
        for customer, total, events in theirs.annotate(Count("pk"), events=_EVENTS):
            most = min(total, MOST_OF_CUSTOMER)
            sizes[customer] = max(most - max(events - MAX_PER_ARRAY, 0), min(most, MAX_PER_ARRAY))
            if total > MOST_OF_CUSTOMER or events > MAX_PER_ARRAY:
                larger.add(customer)
        return sizes, larger

    def _fitting(self, found: dict[str, int], sizes: dict[str, int]) -> list[str]:
        """The first of them, with all that they have: a rest would take another request. The others are met again."""
        number = max(sum(total <= MOST for total in accumulate(sizes.values())), 1)
        self._fitted = None
        if number < len(found):
            self._fitted = number
            self.is_over, self._after = False, list(found.values())[number] - 1
        return list(sizes)[:number]

    def _of_the_same_orders(self, taken: list[Entry], now: datetime) -> list[Entry]:
        """An order is sent whole: its later entries come along, rather than being found to have nothing to add."""
        of_orders = [entry for entry in taken if entry.kind in ORDER_KINDS]
        if not of_orders:
            return []
        later = self._free(now).filter(kind__in=ORDER_KINDS).exclude(pk__in=[entry.pk for entry in taken])
        later = later.filter(customer_external_id__among={entry.customer_external_id for entry in of_orders})
        return _entries(later.filter(subject__among={entry.subject for entry in of_orders}))


def _so_far(counted: Expression) -> Window:
    """Of a customer's entries, up to and with each."""
    return Window(counted, partition_by=F("customer_external_id"), order_by="pk")


def _is_whole(taken: list[Entry]) -> bool:
    """Whether this is all that its customers have: nobody's rest was left behind."""
    counts = Counter(entry.customer_external_id for entry in taken)
    return len(taken) < MOST and max(counts.values(), default=0) < MOST_OF_CUSTOMER


def _entries(rows: "QuerySet[OutboxEntry]") -> list[Entry]:
    *columns, data = Entry._fields
    return [Entry._make((*row[:-1], from_json(row[-1]))) for row in rows.values_list(*columns, text_of(data))]

"""Takes pending entries for the relay: whole customers, in the order of their oldest changes, and nobody who is busy.

A *pass* goes through an account's pending entries once, for as long as one relay has the lease. It knows the busy
customers by heart: who was busy when it began, and whom it has taken since, as nobody else makes requests meanwhile.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.integration import NAME
from integrations.braze.mapping.objects import MAX_PER_ARRAY, Entry
from integrations.braze.mapping.rows import from_json, text_of
from integrations.outbox import oldest
from integrations.outbox.models import Kind, OutboxEntry, Status
from integrations.outbox.oldest import Limits
from integrations.outbox.prepared import Prepared

#: Entries looked at for the customers to be taken together.
TAKE = 2_000
#: Entries taken together, of one customer and in all, and no more events of one than a request holds. What a customer
#: has beyond that would not fit anyway.
MOST_OF_CUSTOMER, MOST = 2 * MAX_PER_ARRAY, 4_000
#: As an `Entry` has them.
_COLUMNS, _DATA = ("id", *Entry._fields[1:-1]), Entry._fields[-1]
_CUSTOMER = _COLUMNS.index("customer_external_id")


def pending(account_id: Any) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING)


def _free(account_id: Any, now: Any) -> "QuerySet[OutboxEntry]":
    return pending(account_id).filter(Q(parked=False) | Q(due_at__lte=now)).order_by("pk")


def _ahead(account_id: Any, now: Any, after: Any) -> "QuerySet[OutboxEntry, Any]":
    return _free(account_id, now).filter(pk__gt=after).values_list("pk", "customer_external_id")


def _busy(account_id: Any, now: Any) -> "QuerySet[OutboxEntry, Any]":
    mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME).order_by()
    theirs = mine.values_list("customer_external_id")
    waiting = theirs.filter(status=Status.PENDING, parked=False, due_at__gt=now)
    return theirs.filter(status=Status.BUFFERED).union(waiting)


_AHEAD, _BUSY = Prepared(_ahead), Prepared(_busy)
_AHEAD_OF_OTHERS = Prepared(
    lambda account_id, now, after, passed: _ahead(account_id, now, after).exclude(customer_external_id__among=passed)
)


class Pass:
    """`take` goes on where it stopped, until `is_over`.

    A customer is taken once in a pass, with all that is pending: also what was committed late, under an id that we
    have passed already. Whoever is busy is left to the next pass, even if free before that.
    """

    def __init__(self, account_id: int, first: int = 0) -> None:
        """Nothing is pending before `first`; 0 where that is not known."""
        self.account_id = account_id
        self.is_over = False
        self._after = max(first - 1, 0)
        self._passed: set[str] | None = None

    def take(self, now: datetime) -> list[Entry]:
        """The next free entries, of whole customers where nobody has very many; [] where nothing free is left."""
        passed = self._passed = self._busy(now) if self._passed is None else self._passed
        # Where those at the front are all busy, the database looks for the next one who is not: there may be millions.
        for look in (_AHEAD, _AHEAD_OF_OTHERS):
            if self.is_over:
                break
            rows = look.rows(TAKE, account_id=self.account_id, now=now, after=self._after, passed=passed)
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
        return {customer for (customer,) in _BUSY.rows(account_id=self.account_id, now=now)}

    def _take(self, found: dict[str, int], passed: set[str], now: datetime) -> list[Entry]:
        """Of the customers found, by the ids of their first entries, as many as can be taken together."""
        limits = Limits(MOST_OF_CUSTOMER, MOST + 1)
        rows = oldest.pending_of(self.account_id, NAME, found, [*_COLUMNS, _DATA], now, limits)
        chosen = list(found)
        if len(rows) > MOST:  # the last of them comes next, with all there is: the rest would take another request
            cut = chosen.index(rows[-1][_CUSTOMER])
            self.is_over, self._after = False, found[chosen[cut]] - 1
            del chosen[cut:]
        passed.update(chosen)
        whole = set(chosen)
        taken = [_entry(row) for row in sorted(rows) if row[_CUSTOMER] in whole]
        counts = Counter(entry.customer_external_id for entry in taken)
        most = min(MAX_PER_ARRAY, MOST_OF_CUSTOMER - 1)
        larger = {customer for customer, count in counts.items() if count > most}
        if not larger:
            return taken
        taken = list(_without_later_events(taken))
        return taken + self._of_the_same_orders([entry for entry in taken if entry.customer_external_id in larger], now)

    def _of_the_same_orders(self, cut_short: list[Entry], now: datetime) -> list[Entry]:
        """An order is sold whole: its later entries come along, rather than being found to have nothing to add.

        Not its reversal, which must overtake nothing that was left behind.
        """
        orders = {(entry.customer_external_id, entry.subject) for entry in cut_short if entry.kind in ORDER_KINDS}
        if not orders:
            return []
        later = (
            _free(self.account_id, now)
            .filter(kind__in=ORDER_KINDS)
            .exclude(pk__among=[entry.pk for entry in cut_short])
        )
        later = later.filter(customer_external_id__among={customer for customer, _ in orders})
        later = later.filter(subject__among={subject for _, subject in orders})
        return [entry for entry in map(_entry, later.values_list(*_COLUMNS, text_of(_DATA))) if entry.is_of_sale]


def _without_later_events(taken: list[Entry]) -> Iterator[Entry]:
    """No more of a customer than up to the last event that a request holds; in the order of ids."""
    events = Counter[str]()
    for entry in taken:
        events[entry.customer_external_id] += entry.kind == Kind.EVENT
        if events[entry.customer_external_id] <= MAX_PER_ARRAY:
            yield entry


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry._make((*row[:-1], from_json(row[-1])))

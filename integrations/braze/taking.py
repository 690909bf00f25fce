"""Takes pending entries for the relay, in the order of their ids and never past a customer who is busy.

A *pass* goes through an account's pending entries once, for as long as one relay has the lease. It knows the busy
customers by heart instead of asking the database about each entry.
"""

from collections.abc import Collection
from datetime import datetime

from django.db.models import Q, QuerySet

from integrations.braze.integration import NAME
from integrations.braze.objects import Entry
from integrations.braze.records import ORDER_KINDS
from integrations.braze.rows import from_json, text_of
from integrations.outbox.models import OutboxEntry, Status

#: Entries taken at once.
TAKE = 2_000
#: Entries looked at for that, where most are of busy customers.
LOOK_AT = 20_000


def pending(account_id: int) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING)


class Pass:
    """`take` goes on where it stopped, until `is_over`.

    A customer who was busy once is passed over until the next pass, even if free meanwhile: earlier changes of theirs
    are behind us. And where a taken customer has earlier entries, which were committed late, those come along.
    """

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.is_over = False
        self._after = self._before = 0
        self._passed: set[str] = set()

    def take(self, now: datetime) -> list[Entry]:
        """The next free entries, of whole customers' beginnings; [] where nothing free is left."""
        self._before = begun = self._after
        busy, taken, looked_at = self._busy(now), list[Entry](), 0
        while not self.is_over and len(taken) < TAKE and looked_at < LOOK_AT:
            rows = self._next(now)
            for entry in rows:
                if entry.customer_external_id in busy:
                    self._passed.add(entry.customer_external_id)
                else:
                    taken.append(entry)
            looked_at += len(rows)
            self.is_over = len(rows) < TAKE
            self._after = rows[-1].pk if rows else self._after
        late = self._committed_late(taken, begun, now) if begun and taken else []
        if len(late) >= LOOK_AT:  # there may be more of them: these first
            self.rewind()
            return late
        taken = late + taken
        return taken if self.is_over else taken + self._of_the_same_orders(taken, now)

    def pass_over(self, customers: Collection[str]) -> None:
        """Their entries stay pending, so later ones must stay, too."""
        self._passed.update(customers)

    def rewind(self) -> None:
        """Look again at what was taken last: it has changed."""
        self._after, self.is_over = self._before, False

    def _busy(self, now: datetime) -> set[str]:
        """Read before the entries are: whoever becomes free in between is merely passed over."""
        mine = OutboxEntry.objects.filter(account_id=self.account_id, integration=NAME)
        buffered = mine.filter(status=Status.BUFFERED).values_list("customer_external_id", flat=True)
        waiting = mine.filter(status=Status.PENDING, parked=False, due_at__gt=now)
        return self._passed.union(buffered.iterator(20_000), waiting.values_list("customer_external_id", flat=True))

    def _free(self, now: datetime) -> "QuerySet[OutboxEntry]":
        return pending(self.account_id).filter(Q(parked=False) | Q(due_at__lte=now)).order_by("pk")

    def _next(self, now: datetime) -> list[Entry]:
        return _entries(self._free(now).filter(pk__gt=self._after)[:TAKE])

    def _committed_late(self, taken: list[Entry], before: int, now: datetime) -> list[Entry]:
        """Ids are given before commits: an entry with a lower id than we have passed may be visible only now."""
        customers = {entry.customer_external_id for entry in taken}
        return _entries(self._free(now).filter(pk__lte=before, customer_external_id__among=customers)[:LOOK_AT])

    def _of_the_same_orders(self, taken: list[Entry], now: datetime) -> list[Entry]:
        """An order is sent whole: its later entries come along, rather than being found to have nothing to add."""
        of_orders = [entry for entry in taken if entry.kind in ORDER_KINDS]
        if not of_orders:
            return []
        later = self._free(now).filter(kind__in=ORDER_KINDS, pk__gt=self._after)
        later = later.filter(customer_external_id__among={entry.customer_external_id for entry in of_orders})
        return _entries(later.filter(subject__among={entry.subject for entry in of_orders}))


def _entries(rows: "QuerySet[OutboxEntry]") -> list[Entry]:
    *columns, data = Entry._fields
    return [Entry._make((*row[:-1], from_json(row[-1]))) for row in rows.values_list(*columns, text_of(data))]

"""Takes pending entries for the relay: whole customers, in the order of their oldest changes, leaving out busy ones.

A *pass* goes through an account's pending entries once, while one relay has the lease. It keeps the busy customers in
memory: those who were busy when it began, and those it has taken since, as nobody else makes requests meanwhile.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.integration import NAME, entries_of, pending_of
from integrations.braze.mapping.objects import MAX_PER_ARRAY, Entry
from integrations.braze.mapping.rows import from_json, text_of
from integrations.outbox import oldest
from integrations.outbox.models import Kind, OutboxEntry, Status
from integrations.outbox.oldest import Limits
from integrations.outbox.prepared import Prepared

#: Entries looked at to find the customers that are taken together.
TAKE = 2_000
#: Most entries taken together: of one customer, and in all. Of one customer's events, no more are taken than a request
#: holds: more would not fit anyway.
MOST_OF_CUSTOMER, MOST = 2 * MAX_PER_ARRAY, 4_000
#: The columns of an `Entry`.
_COLUMNS, _DATA = ("id", *Entry._fields[1:-1]), Entry._fields[-1]
_CUSTOMER = _COLUMNS.index("customer_external_id")


def _free(account_id: Any, now: Any) -> "QuerySet[OutboxEntry]":
    return pending_of(account_id).filter(Q(parked=False) | Q(due_at__lte=now)).order_by("pk")


def _ahead(account_id: Any, now: Any, after: Any) -> "QuerySet[OutboxEntry, Any]":
    return _free(account_id, now).filter(pk__gt=after).values_list("pk", "customer_external_id")


def _busy(account_id: Any, now: Any) -> "QuerySet[OutboxEntry, Any]":
    mine = entries_of(account_id).order_by()
    theirs = mine.values_list("customer_external_id")
    waiting = theirs.filter(status=Status.PENDING, parked=False, due_at__gt=now)
    return theirs.filter(status=Status.BUFFERED).union(waiting)


_AHEAD, _BUSY = Prepared(_ahead), Prepared(_busy)
_AHEAD_OF_OTHERS = Prepared(
    lambda account_id, now, after, passed: _ahead(account_id, now, after).exclude(customer_external_id__among=passed)
)


class Pass:
    """Each call of `take` continues where the last one stopped, until `is_over`.

    A customer is taken once in a pass, with all that is pending, including entries committed late, under ids that the
    pass has already gone by. Busy customers are left to the next pass, even if they become free before that.
    """

    def __init__(self, account_id: int, first: int = 0) -> None:
        """`first` is the lowest id that may be pending; 0 if that is not known."""
        self.account_id = account_id
        self.is_over = False
        self._after = max(first - 1, 0)
        self._passed: set[str] | None = None

    def take(self, now: datetime) -> list[Entry]:
        """The next entries, of whole customers unless one has very many, in the order of ids; [] if none is left."""
        passed = self._passed = self._busy(now) if self._passed is None else self._passed
        # If all customers at the front are busy, the database skips to the next free one: there may be millions of
        # entries.
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

    def put_back(self, taken: list[Entry], first: int) -> list[Entry]:
        """Of what was taken last, leave the entry of the id `first` and all after it for later; returns the others.

        A customer of whom nothing remains is taken again in this pass.
        """
        kept = [entry for entry in taken if entry.pk < first]
        names = {entry.customer_external_id for entry in kept}
        if self._passed is not None:
            self._passed -= {entry.customer_external_id for entry in taken} - names
        self.is_over, self._after = False, min(self._after, first - 1)
        return kept

    def _busy(self, now: datetime) -> set[str]:
        """Read before the entries are: a customer who becomes free in between is merely left out."""
        return {customer for (customer,) in _BUSY.rows(account_id=self.account_id, now=now)}

    def _take(self, found: dict[str, int], passed: set[str], now: datetime) -> list[Entry]:
        """Entries of as many of these customers as can be taken together. `found`: customer → id of the first entry."""
        limits = Limits(MOST_OF_CUSTOMER, MOST + 1)
        rows = oldest.pending_of(self.account_id, NAME, found, [*_COLUMNS, _DATA], now, limits)
        chosen = list(found)
        if len(rows) > MOST:  # the last customer was cut short, and is taken next, with everything
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
        """A sale is sent whole: the order's later entries of the sale come along, even beyond the customer's limit.

        Its reversal does not: it must not overtake what was left behind.
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
    """Each customer's entries up to the last event that one request holds, in the order of ids."""
    events = Counter[str]()
    for entry in taken:
        events[entry.customer_external_id] += entry.kind == Kind.EVENT
        if events[entry.customer_external_id] <= MAX_PER_ARRAY:
            yield entry


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry._make((*row[:-1], from_json(row[-1])))

"""Captures what an account already has, so that a new workspace begins with all of it.

Repeating it is harmless: attributes that the mirror has are left out, each purchase has one row, and events that were
captured before are left out here. It goes on where it was cut off, chunk by chunk, so that no worker is kept by it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from integrations.braze.integration import BrazeIntegration, entries_of
from integrations.braze.models import Backfill, BrazeSettings, BrazeState
from integrations.outbox import capture, changes
from integrations.outbox.capture import Change
from integrations.outbox.clock import database_now, is_over
from integrations.outbox.models import IN_ANY_STATE, Kind, Status
from masivo_braze.loyalty.models import Customer, Event, Membership, Order

#: Records read and captured in one transaction: memory stays flat, and the settings are locked only briefly.
CHUNK = 1_000
#: One task does one bounded slice.
SLICE_SECONDS = 2.0
#: Longer than a chunk takes, and its message.
LEFT_ALONE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Step:
    """Progress with one kind of record. Records seen but not captured are not wanted, or were captured before."""

    name: str
    seen: int
    captured: int


class _Records(NamedTuple):
    name: str
    of_account: Callable[[int], "QuerySet[Any]"]
    to_changes: Callable[[list[Any]], list[Change]]


def begin(account_id: int) -> None:
    """From the first record on, also where it is under way already. It is done by whoever calls `work_off`."""
    anew = {"step": 0, "after": "", "seen": 0, "captured": 0, "moved_at": database_now()}
    Backfill.objects.update_or_create(account_id=account_id, defaults=anew)


def backfill(account_id: int) -> Iterator[Step]:
    """Capture the account's records as its toggles are now; yields a `Step` after each chunk."""
    begin(account_id)
    while step := _go_on(account_id):
        yield step


def work_off(account_id: int) -> bool:
    """Do a slice of a backfill that is under way; whether something is left of it, and nobody else is at it."""
    end = monotonic() + SLICE_SECONDS
    while _go_on(account_id, skip_locked=True):
        if monotonic() >= end:
            return True
    return False


def left_alone() -> list[int]:
    """Accounts of backfills that nobody has been at for a while: the worker has gone, or the message was lost."""
    still = Backfill.objects.filter(is_over("moved_at", LEFT_ALONE, database_now()))
    return list(still.order_by("moved_at").values_list("account_id", flat=True))


def progress(account_id: int) -> Step | None:
    """How far the backfill of an account has come; None where none is under way."""
    row = Backfill.objects.filter(account_id=account_id).first()
    return Step(_ALL[row.step].name, row.seen, row.captured) if row else None


@transaction.atomic
def _go_on(account_id: int, skip_locked: bool = False) -> Step | None:
    """Capture a chunk and move on; None where nothing is left, or somebody else is at it."""
    rows = Backfill.objects.select_for_update(skip_locked=skip_locked)
    row = rows.filter(account_id=account_id).first()
    if row is None:
        return None
    row.moved_at = database_now()
    records = _ALL[row.step]
    chunk = _chunk(records.of_account(account_id), row.after)
    if chunk:
        row.after, row.seen = str(chunk[-1].pk), row.seen + len(chunk)
        row.captured += _record(account_id, chunk, records.to_changes)
    done = Step(records.name, row.seen, row.captured)
    if records.to_changes is _events and _has_lost_events(account_id):
        done, chunk = Step(f"{records.name} ({LEFT_OUT})", row.seen, row.captured), []
    if len(chunk) == CHUNK:
        row.save()
    elif row.step + 1 < len(_ALL):
        row.step, row.after, row.seen, row.captured = row.step + 1, "", 0, 0
        row.save()
    else:
        row.delete()
    return done


def of_customer(customer: Customer) -> Iterator[Step]:
    """Capture the customer's events and fulfilled orders; what was captured or sent before is not sent again."""
    account_id = customer.account_id
    events = _past_events(account_id).filter(customer=customer)
    orders = _fulfilled(account_id).filter(customer=customer)
    if not _has_lost_events(account_id):
        yield from _capture(account_id, "events", events, _events)
    yield from _capture(account_id, "fulfilled orders", orders, changes.orders_changed)


def _created(customers: Sequence[Customer]) -> list[Change]:
    return [changes.customer_created(customer) for customer in customers]


def _joined(memberships: Sequence[Membership]) -> list[Change]:
    return [changes.membership_changed(membership, Kind.AUDIENCE_JOINED) for membership in memberships]


def _events(events: Sequence[Event]) -> list[Change]:
    """Leaves out events with an entry that was, or may still be, delivered: Braze counts an event sent twice twice."""
    found = [changes.event_created(event) for event in events]
    before = entries_of(events[0].account_id).filter(
        IN_ANY_STATE,
        kind=Kind.EVENT,
        customer_external_id__in={change.customer_external_id for change in found},  # there is an index on these
        subject__in={change.subject for change in found},
    )
    known = set(before.exclude(status=Status.SKIPPED).values_list("subject", flat=True))
    if _has_lost_events(events[0].account_id):  # asked last: what was purged before, was not found
        return []
    return [change for change in found if change.subject not in known]


def _customers(account_id: int) -> "QuerySet[Customer]":
    return Customer.objects.filter(account_id=account_id)


def _past_events(account_id: int) -> "QuerySet[Event]":
    return Event.objects.filter(account_id=account_id).select_related("customer")


def _fulfilled(account_id: int) -> "QuerySet[Order]":
    return Order.objects.filter(account_id=account_id, fulfilled_at__isnull=False).select_related("customer")


def _memberships(account_id: int) -> "QuerySet[Membership]":
    return Membership.objects.filter(audience__account_id=account_id).select_related("audience", "customer")


#: In the order in which they are captured.
_ALL = (
    _Records("customers", _customers, _created),
    _Records("events", _past_events, _events),
    _Records("fulfilled orders", _fulfilled, changes.orders_changed),
    _Records("audience memberships", _memberships, _joined),
)
LEFT_OUT = "left out, since it is no longer known which of the older ones were sent"


def _has_lost_events(account_id: int) -> bool:
    """Whether what was captured of events was purged: which of them were sent is not known any more."""
    return BrazeState.objects.filter(account_id=account_id, purged_at__isnull=False).exists()


def _capture(
    account_id: int, name: str, records: "QuerySet[Any]", to_changes: Callable[[list[Any]], list[Change]]
) -> Iterator[Step]:
    seen = captured = 0
    yield Step(name, seen, captured)
    for chunk in _chunks(records):
        captured += _record(account_id, chunk, to_changes)
        seen += len(chunk)
        yield Step(name, seen, captured)


def _chunks(records: "QuerySet[Any]") -> Iterator[list[Any]]:
    """By primary key, with one query per chunk, so that no cursor stays open while they are captured."""
    chunk = _chunk(records, "")
    while chunk:
        yield chunk
        chunk = _chunk(records, str(chunk[-1].pk))


def _chunk(records: "QuerySet[Any]", after: str) -> list[Any]:
    """The next records after one of this primary key; from the first on, where it is empty."""
    return list((records.filter(pk__gt=after) if after else records).order_by("pk")[:CHUNK])


@transaction.atomic
def _record(account_id: int, chunk: list[Any], to_changes: Callable[[list[Any]], list[Change]]) -> int:
    """Capture a chunk, with the settings locked, so that two backfills capture no event twice; returns how many."""
    # Answers are settled meanwhile.
    list(BrazeSettings.objects.select_for_update(no_key=True).filter(account_id=account_id).values_list("pk"))
    wanted = BrazeIntegration().wants(account_id)
    found = [change for change in to_changes(chunk) if wanted.intersection(change.topics)]
    capture.record(found)
    return len(found)

"""Captures what an account already has, so that a new workspace begins with all of it.

Repeating it is harmless: attributes that the mirror has are left out, each purchase has one row, and events that were
captured before are left out here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from integrations.braze.integration import NAME, BrazeIntegration
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.outbox import capture, changes
from integrations.outbox.capture import Change
from integrations.outbox.models import IN_ANY_STATE, Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Customer, Event, Membership, Order

#: Records read and captured in one transaction: memory stays flat, and the settings are locked only briefly.
CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """Progress with one kind of record. Records seen but not captured are not wanted, or were captured before."""

    name: str
    seen: int
    captured: int


def backfill(account_id: int) -> Iterator[Step]:
    """Capture the account's records as its toggles are now; yields a `Step` after each chunk."""
    customers = Customer.objects.filter(account_id=account_id)
    events = Event.objects.filter(account_id=account_id).select_related("customer")
    orders = Order.objects.filter(account_id=account_id, fulfilled_at__isnull=False).select_related("customer")
    memberships = Membership.objects.filter(audience__account_id=account_id).select_related("audience", "customer")
    yield from _capture(account_id, "customers", customers, _created)
    if BrazeState.objects.filter(account_id=account_id, purged_at__isnull=False).exists():
        yield Step("events: left out, since old ones were purged from the books and could be sent twice;", 0, 0)
    else:
        yield from _capture(account_id, "events", events, _events)
    yield from _capture(account_id, "fulfilled orders", orders, changes.orders_changed)
    yield from _capture(account_id, "audience memberships", memberships, _joined)


def of_customer(customer: Customer) -> Iterator[Step]:
    """Capture the customer's events and fulfilled orders; what was captured or sent before is not sent again."""
    account_id = customer.account_id
    events = Event.objects.filter(customer=customer).select_related("customer")
    orders = Order.objects.filter(customer=customer, fulfilled_at__isnull=False).select_related("customer")
    if not BrazeState.objects.filter(account_id=account_id, purged_at__isnull=False).exists():
        yield from _capture(account_id, "events", events, _events)
    yield from _capture(account_id, "fulfilled orders", orders, changes.orders_changed)


def _created(customers: Sequence[Customer]) -> list[Change]:
    return [changes.customer_created(customer) for customer in customers]


def _joined(memberships: Sequence[Membership]) -> list[Change]:
    return [changes.membership_changed(membership, Kind.AUDIENCE_JOINED) for membership in memberships]


def _events(events: Sequence[Event]) -> list[Change]:
    """Leaves out events with an entry that was, or may still be, delivered: Braze counts an event sent twice twice."""
    found = [changes.event_created(event) for event in events]
    before = OutboxEntry.objects.filter(
        IN_ANY_STATE,
        account_id=events[0].account_id,
        integration=NAME,
        kind=Kind.EVENT,
        customer_external_id__in={change.customer_external_id for change in found},  # there is an index on these
        subject__in={change.subject for change in found},
    )
    known = set(before.exclude(status=Status.SKIPPED).values_list("subject", flat=True))
    return [change for change in found if change.subject not in known]


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
    chunk = list(records.order_by("pk")[:CHUNK])
    while chunk:
        yield chunk
        chunk = list(records.filter(pk__gt=chunk[-1].pk).order_by("pk")[:CHUNK])


@transaction.atomic
def _record(account_id: int, chunk: list[Any], to_changes: Callable[[list[Any]], list[Change]]) -> int:
    """Capture a chunk, with the settings locked, so that two backfills capture no event twice; returns how many."""
    BrazeSettings.objects.select_for_update(no_key=True).get(account_id=account_id)  # answers are settled meanwhile
    wanted = BrazeIntegration().wants(account_id)
    found = [change for change in to_changes(chunk) if wanted.intersection(change.topics)]
    capture.record(found)
    return len(found)

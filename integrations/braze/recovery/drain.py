"""Relays and flushes in this process until nothing moves any more, and tells what is left and why."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.db.models import Q, QuerySet

from integrations.braze.composing import relay
from integrations.braze.composing.waiting import wake_dated_ahead
from integrations.braze.delivery import flush, readiness, silent
from integrations.braze.integration import entries_of
from integrations.braze.models import BrazeProfile, Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status

#: How soon to try again if nothing moved, because of a backoff, a rate limit or another process' request.
POLL_SECONDS = 0.05
#: States that only an operator can end.
AT_REST = frozenset({"disabled", "incomplete", "paused"})
#: How many waiting changes are named; the rest are counted.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Rest:
    """Numbers of unsettled entries: `moving` ones are on their way, `stuck` ones cannot move because of `state`.

    `waiting` ones are kept back by rule: until after the end of this drain, or until another record's outcome is known.
    """

    state: str
    moving: int
    stuck: int
    waiting: int
    why_waiting: tuple[str, ...]


def drain(account_ids: Sequence[int], seconds: float) -> dict[int, Rest]:
    """Work until what is left waits by rule or is stuck, or time is up; returns what is left, by account.

    Entries that come due before that are waited for. Raises `redis.RedisError` if Redis is down.
    """
    end = monotonic() + seconds
    wake_dated_ahead()
    while True:
        silent.settle()
        moved = [_move(account_id) for account_id in account_ids if monotonic() < end]
        left = {account_id: _rest(account_id, end) for account_id in account_ids}
        if monotonic() >= end or not any(rest.moving for rest in left.values()):
            return left
        if not any(moved):
            threading.Event().wait(POLL_SECONDS)


def _move(account_id: int) -> int:
    """One bounded slice of an account's work; 0 if nothing moved."""
    moved = relay.relay(account_id)
    return moved + flush.flush(account_id) if flush.refill(account_id) else moved


def _rest(account_id: int, end: float) -> Rest:
    now = database_now()
    unsettled = entries_of(account_id)
    unsettled = unsettled.filter(status__in=(Status.PENDING, Status.BUFFERED))
    waiting = _by_rule(unsettled, now + timedelta(seconds=max(end - monotonic(), 0)))
    total, by_rule = unsettled.count(), waiting.count()
    ready = readiness.of(account_id, now)
    state = f"{ready.state}: {ready.detail}" if ready.detail else ready.state
    if ready.state not in AT_REST:
        return Rest(state, total - by_rule, 0, by_rule, _why_waiting(waiting))
    in_flight = _in_flight(account_id, unsettled)
    return Rest(state, in_flight, total - in_flight, 0, ())


def _by_rule(unsettled: "QuerySet[OutboxEntry]", horizon: datetime) -> "QuerySet[OutboxEntry]":
    """Parked entries, and all entries of customers of whom one waits until after the horizon."""
    pending = unsettled.filter(status=Status.PENDING)
    late = pending.filter(due_at__gt=horizon)
    return pending.filter(Q(parked=True) | Q(customer_external_id__in=late.values("customer_external_id")))


def _why_waiting(waiting: "QuerySet[OutboxEntry]") -> tuple[str, ...]:
    named = [_why(entry) for entry in waiting.filter(Q(parked=True) | Q(due_at__isnull=False)).order_by("pk")[:NAMED]]
    return tuple(named)


def _why(entry: OutboxEntry) -> str:
    what = f"{entry.get_kind_display()} of customer {entry.customer_external_id}"
    if entry.parked:
        return f"{what}: {entry.error}"
    return f"{what}: waits until {entry.due_at:%H:%M:%S} UTC: {_why_later(entry)}"


def _why_later(entry: OutboxEntry) -> str:
    """The rules by which a change has to wait, as `waiting` and `relay` apply them."""
    if entry.kind == Kind.CUSTOMER_DELETED:
        return "the customer's last request was just before"
    profiles = BrazeProfile.objects.filter(account_id=entry.account_id, external_id=entry.customer_external_id)
    if profiles.filter(deleted_at__isnull=False).exists():
        return "Braze may still be deleting the customer who had this id before"
    return "the same attribute was changed just before"


def _in_flight(account_id: int, unsettled: "QuerySet[OutboxEntry]") -> int:
    """Entries in started requests: these end on their own, whatever became of the account since."""
    started = Delivery.objects.filter(account_id=account_id, started_at__isnull=False, finished_at=None)
    return unsettled.filter(batch__in=started.values("pk")).count()

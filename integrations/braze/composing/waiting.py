"""Who has to wait because Braze needs time, and what is woken as a clock that was set back would let it wait too long.

If it is not known how long somebody has waited, as the clock was set back meanwhile, they wait once more, from the
beginning: too short a wait could bring a deleted customer back.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import Case, Max, Value, When

from integrations.braze.composing.records import Records
from integrations.braze.integration import NAME, entries_of, pending_of
from integrations.braze.mapping.objects import Entry
from integrations.braze.mapping.rows import Mirrored
from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.models.account import LONGEST_GAP_SECONDS
from integrations.outbox.clock import database_now, latest
from integrations.outbox.models import SETTLED, Kind, OutboxEntry, Status

#: Parked entries are woken when the record they wait for is settled; and they are tried again this often, to be safe.
PARKED = timedelta(seconds=60)
#: Changes that are woken in one transaction.
TOGETHER = 5_000


def due(
    account_id: int, by_customer: dict[str, list[Entry]], loaded: Records, settings: BrazeSettings, now: datetime
) -> dict[str, datetime]:
    """Customers who have to wait, and until when.

    A deletion leaves some seconds after the customer's last request, because Braze orders nothing between requests;
    a re-created customer waits until the deletion has spread, or it would be swallowed [Braze: /users/delete].
    """
    deleted = {c for c, theirs in by_customer.items() if any(entry.kind == Kind.CUSTOMER_DELETED for entry in theirs)}
    deleted = deleted if settings.delete_customers else set()  # otherwise the deletion is skipped
    others = by_customer.keys() & loaded.profiles.keys() - deleted
    spread = {customer: at for customer in others if (at := loaded.profiles[customer].deleted_at)}
    waits = _until(account_id, spread, _settles(), now)
    return waits | _until(account_id, _last_accepted(account_id, deleted, loaded), _apart(), now)


def deletion_settles_at(profile: Mirrored) -> datetime | None:
    """When the user's deletion has taken effect throughout Braze; None if Braze has accepted none."""
    return profile.deleted_at + _settles() if profile.deleted_at else None


def _until(account_id: int, since: dict[str, datetime], wait: timedelta, now: datetime) -> dict[str, datetime]:
    """Of customers who wait from a moment on, those whose wait is not over, with its end."""
    ahead = {customer for customer, at in since.items() if at > latest(now)}
    anew = dict.fromkeys(ahead - _have_waited(account_id, ahead, now), now + wait)
    ends = {customer: at + wait for customer, at in since.items() if customer not in ahead} | anew
    return {customer: end for customer, end in ends.items() if end > now}


def _have_waited(account_id: int, customers: Collection[str], now: datetime) -> set[str]:
    """Those of the customers who have a change that was told to wait, and has."""
    if not customers:
        return set()
    over = pending_of(account_id).filter(parked=False, due_at__lte=now, customer_external_id__among=customers)
    return set(over.values_list("customer_external_id", flat=True))


def _last_accepted(account_id: int, customers: Collection[str], loaded: Records) -> dict[str, datetime]:
    """When Braze last accepted, or may have accepted, something of the customers: by mirror, entries and purchases."""
    if not customers:
        return {}
    settled = entries_of(account_id).filter(customer_external_id__among=customers)
    settled = settled.filter(status__in=SETTLED, batch__isnull=False, settled_at__isnull=False).order_by()
    last = dict(settled.values_list("customer_external_id").annotate(Max("settled_at")))
    sold = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__among=customers)
    sold = sold.filter(settled_at__isnull=False).order_by()  # an order with more to send has no settled entry yet
    for customer, at in sold.values_list("customer_external_id").annotate(Max("settled_at")):
        last[customer] = max(at, last.get(customer, at))
    for customer in customers:
        profile = loaded.profiles.get(customer)
        if profile and profile.last_accepted_at:
            last[customer] = max(profile.last_accepted_at, last.get(customer, profile.last_accepted_at))
    return last


def wake_dated_ahead() -> None:
    """Have changes looked at again that wait for longer than any is told to: the clock was set back since.

    Those that somebody has locked are left to the next call.
    """
    now = database_now()
    longest = max(PARKED, _settles(), _apart(), timedelta(seconds=LONGEST_GAP_SECONDS))
    ahead = OutboxEntry.objects.filter(integration=NAME, status=Status.PENDING, due_at__gt=latest(now, longest))
    while _wake(list(ahead.values_list("pk", flat=True)[:TOGETHER]), now):
        pass


@transaction.atomic
def _wake(ids: list[int], now: datetime) -> int:
    """Parked ones stay parked, but are due; returns how many were woken."""
    free = OutboxEntry.objects.filter(pk__among=ids, status__unindexed=Status.PENDING)
    ids = list(free.select_for_update(skip_locked=True).values_list("pk", flat=True)) if ids else []
    return OutboxEntry.objects.filter(pk__among=ids).update(due_at=Case(When(parked=True, then=Value(now))))


def _settles() -> timedelta:
    return timedelta(seconds=django_settings.BRAZE_DELETE_SETTLES_SECONDS)


def _apart() -> timedelta:
    return timedelta(seconds=django_settings.BRAZE_DELETE_AFTER_SECONDS)

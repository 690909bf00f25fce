"""Requests that are late: neither the number of pending changes nor an account's state shows them."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import Min, Q

from integrations.braze.models import Delivery

#: The flush's tick, every second, settles requests that are past their deadline: only later ones are overdue.
GRACE = timedelta(seconds=5)


def oldest(now: datetime, account_ids: Collection[int] | None = None) -> dict[int, datetime]:
    """By account, when its oldest request was composed that was not started, or whose answer is overdue.

    For these accounts, or for all; accounts without such requests are missing. Two partial indexes make this cheap.
    """
    rows = Delivery.objects.filter(finished_at__isnull=True).order_by()
    if account_ids is not None:
        rows = rows.filter(account_id__in=account_ids)
    found: dict[int, datetime] = {}
    for kind in (Q(started_at__isnull=True), Q(started_at__isnull=False, deadline__lt=now - GRACE)):
        for account_id, first in rows.filter(kind).values_list("account_id").annotate(Min("created_at")):
            found[account_id] = min(first, found.get(account_id, first))
    return found


def in_flight(account_ids: Collection[int]) -> set[int]:
    """Which of these accounts are waiting for an answer from Braze."""
    started = Delivery.objects.filter(account_id__in=account_ids, started_at__isnull=False, finished_at__isnull=True)
    return set(started.order_by().values_list("account_id", flat=True))

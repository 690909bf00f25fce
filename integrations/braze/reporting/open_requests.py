"""Requests that ought to move: neither the number of pending changes nor an account's state tells of them."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db.models import Min, Q

from integrations.braze.models import Delivery

#: What is silent past its deadline is settled by the next tick of the flush, a second later.
GRACE = timedelta(seconds=5)


def oldest(now: datetime, account_ids: Collection[int] | None = None) -> dict[int, datetime]:
    """By account when the oldest request was composed that nobody has sent, or whose answer is overdue.

    Of these accounts, or of all; those that have none are left out. Each kind is in a partial index, and few.
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
    """Those of these accounts that wait for an answer of Braze's."""
    started = Delivery.objects.filter(account_id__in=account_ids, started_at__isnull=False, finished_at__isnull=True)
    return set(started.order_by().values_list("account_id", flat=True))

"""Removes settled entries and finished requests by age. Purchases and the mirror stay for ever."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from integrations.braze.integration import NAME
from integrations.braze.models import BrazeState, Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status

#: Small batches: a purge must not hold locks, or a replica back.
BATCH = 1_000
#: Final statuses that need nobody's attention.
DONE = (Status.DELIVERED, Status.SKIPPED, Status.DISCARDED)


def purge(most: int = 100_000) -> int:
    """Delete settled entries and finished requests older than `BRAZE_RETENTION_DAYS`; returns how many rows.

    A request stays as long as an entry that is not done refers to it.
    """
    before = database_now() - timedelta(days=settings.BRAZE_RETENTION_DAYS)
    entries = OutboxEntry.objects.filter(integration=NAME, status__in=DONE, settled_at__lt=before)
    open_entries = OutboxEntry.objects.exclude(status__in=DONE).filter(batch__isnull=False)
    requests = Delivery.objects.filter(finished_at__lt=before).exclude(pk__in=open_entries.values("batch"))
    if entries.exists():  # said first: a backfill must not take what is purged for what was never sent
        BrazeState.objects.update(purged_at=database_now())
    gone = _delete_in_batches(entries.order_by("pk"), most)
    return gone + _delete_in_batches(requests.order_by("created_at"), most)


def _delete_in_batches(rows: "QuerySet[Any]", most: int) -> int:
    gone = 0
    while gone < most:
        ids = list(rows.values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        gone += rows.model._default_manager.filter(pk__in=ids)._raw_delete(rows.db)
    return gone

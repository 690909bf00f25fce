"""Removes settled entries and finished requests by age. Purchases and the mirror stay for ever."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import QuerySet

from integrations.braze.erasure import erasing, payloads, referred
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeState, Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status

logger = logging.getLogger(__name__)

#: Small batches: a purge must not hold locks, or a replica back.
BATCH = 1_000
#: Final statuses that need nobody's attention.
DONE = (Status.DELIVERED, Status.SKIPPED, Status.DISCARDED)

#: In place of the reason that somebody typed: if the customer is deleted later, nothing leads to it.
WITH_THE_CHANGE = "removed with the change"


def purge(most: int = payloads.MOST) -> int:
    """Delete settled entries and finished requests older than `BRAZE_RETENTION_DAYS`; returns how many rows.

    A request stays as long as an entry that is not done refers to it.
    """
    before = database_now() - timedelta(days=settings.BRAZE_RETENTION_DAYS)
    entries = OutboxEntry.objects.filter(integration=NAME, status__in=DONE, settled_at__lt=before)
    open_entries = OutboxEntry.objects.exclude(status__in=DONE)
    requests = referred.not_referred_to(Delivery.objects.filter(finished_at__lt=before), open_entries, BATCH)
    gone = _delete_in_batches(_oldest(entries.order_by("pk")), most, _note_events)
    return gone + _delete_in_batches((Delivery.objects.filter(pk__in=ids) for ids in requests), most)


def _oldest(entries: "QuerySet[OutboxEntry]") -> "Iterator[QuerySet[OutboxEntry]]":
    """A batch at a time, each from where the last one ended: there may be millions before it that have to stay."""
    after = 0
    while ids := list(entries.filter(pk__gt=after).values_list("pk", flat=True)[:BATCH]):
        after = ids[-1]
        yield entries.filter(pk__in=ids)


def _note_events(entries: "QuerySet[OutboxEntry]") -> None:
    """Note, before events are deleted, that they are: a backfill must not mistake purged events for unsent ones.

    One account after the other: an update of all at once would hold the others' rows locked while it waits for one.
    """
    now = database_now()
    for account_id in set(entries.filter(kind=Kind.EVENT).values_list("account_id", flat=True)):
        BrazeState.objects.filter(account_id=account_id).update(purged_at=now)


def _delete_in_batches(
    batches: "Iterable[QuerySet[Any]]", most: int, note: "Callable[[QuerySet[Any]], None]" = lambda chosen: None
) -> int:
    """`note` is called with each batch before it is deleted.

    A failure is logged, and ends this deletion alone: other rows that are to be purged do not depend on it.
    """
    gone = 0
    try:
        for chosen in batches:
            note(chosen)
            gone += _delete(chosen)
            if gone >= most:
                break
    except DatabaseError:
        logger.exception("a purge failed after %s rows", gone)
    return gone


@transaction.atomic
def _delete(chosen: "QuerySet[Any]") -> int:
    """Rows that somebody else has locked are left to the next purge: waiting for them could end in a deadlock."""
    ids = list(chosen.select_for_update(skip_locked=True).values_list("pk", flat=True))
    if chosen.model is OutboxEntry:
        discarded = OutboxEntry.objects.filter(pk__in=ids, status=Status.DISCARDED)
        erasing.clear_history(list(discarded.values_list("pk", flat=True)), WITH_THE_CHANGE)
    return chosen.model._default_manager.filter(pk__in=ids)._raw_delete(chosen.db) if ids else 0

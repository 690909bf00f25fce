"""Empties the bodies of requests after some days: they are personal data, and nobody asks for them any more.

A request that somebody still has to decide about keeps its body until then. Counts, times and outcomes stay.
"""

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from integrations.braze.erasure import referred
from integrations.braze.models import Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import OPEN, OutboxEntry

#: Small batches: a purge must not hold locks, or a replica back.
BATCH = 500
#: Rows that one run may deal with, a minute's work or a few: at one run an hour, as many changes as 277 a second leave.
MOST = 1_000_000


def forget_old(most: int = MOST) -> int:
    """Empty bodies of requests that finished more than `BRAZE_PAYLOAD_DAYS` ago, about `most`; returns how many."""
    before = database_now() - timedelta(days=settings.BRAZE_PAYLOAD_DAYS)
    return _forget(Delivery.objects.filter(finished_at__lt=before), most)


def forget_settled(ids: Collection[UUID]) -> None:
    """If payloads are not kept at all, empty those of settled requests after the current transaction's commit."""
    if settings.BRAZE_PAYLOAD_DAYS == 0:
        transaction.on_commit(partial(_forget, Delivery.objects.filter(pk__in=list(ids))), robust=True)


def _forget(requests: "QuerySet[Delivery]", most: int = BATCH) -> int:
    full = requests.filter(finished_at__isnull=False).exclude(body=b"")
    gone = 0
    for ids in referred.not_referred_to(full, OutboxEntry.objects.filter(status__in=OPEN), BATCH):
        gone += _empty_batch(full.filter(pk__among=ids))
        if gone >= most:
            break
    return gone


@transaction.atomic
def _empty_batch(requests: "QuerySet[Delivery]") -> int:
    """Requests that somebody else has locked are left to the next run: waiting for them could end in a deadlock."""
    free = requests.select_for_update(skip_locked=True)
    ids = list(free.values_list("pk", flat=True))
    return Delivery.objects.filter(pk__in=ids).update(body=b"") if ids else 0

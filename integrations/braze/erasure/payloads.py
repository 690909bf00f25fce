"""How long the contents of requests are kept: they are personal data, and after some days nobody asks for them.

What somebody still has to decide about is kept until it is decided. Requests keep their counts, times and outcome.
"""

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from integrations.braze.models import Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import OPEN, OutboxEntry

#: Small batches, as of any purge.
BATCH = 500


def forget_old(most: int = 100_000) -> int:
    """Empty the bodies of requests that finished more than `BRAZE_PAYLOAD_DAYS` ago; how many there were."""
    before = database_now() - timedelta(days=settings.BRAZE_PAYLOAD_DAYS)
    return _forget(Delivery.objects.filter(finished_at__lt=before), most)


def forget_settled(ids: Collection[UUID]) -> None:
    """To be called in the settlement's transaction: where nothing is to be kept, the bodies go after its commit."""
    if settings.BRAZE_PAYLOAD_DAYS == 0:
        transaction.on_commit(partial(_forget, Delivery.objects.filter(pk__in=list(ids))), robust=True)


def _forget(requests: "QuerySet[Delivery]", most: int = BATCH) -> int:
    undecided = OutboxEntry.objects.filter(status__in=OPEN, batch__isnull=False).values("batch")
    full = requests.filter(finished_at__isnull=False).exclude(body=b"")
    gone = 0
    while gone < most:
        ids = list(full.exclude(pk__in=undecided).values_list("pk", flat=True)[:BATCH])
        if not ids:
            break
        gone += Delivery.objects.filter(pk__in=ids).update(body=b"")
    return gone

"""The ledger's transitions: composed, started by one winner, taken back. How a request ends is settlement's."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet, Sum

from integrations.braze import client, transport
from integrations.braze.integration import NAME
from integrations.braze.models import BrazePurchase, Delivery, Fate, Outcome
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status

#: A sender that has not got its request out this long after the start gives it back.
SEND_WITHIN = timedelta(seconds=2)
#: Longer than any request can take, from its start to its settlement: what is silent after it has no known outcome.
SILENT_AFTER = SEND_WITHIN + timedelta(seconds=transport.SEND_SECONDS + client.TOTAL_SECONDS + 3)


def unstarted(account_id: int) -> "QuerySet[Delivery]":
    return Delivery.objects.filter(account_id=account_id, started_at=None, finished_at=None).order_by(
        "created_at", "pk"
    )


def has_enough(account_id: int) -> bool:
    """Whether so much is ready to be sent that a backlog better waits in the database, where it packs full."""
    ready = unstarted(account_id).order_by().aggregate(requests=Count("pk"), size=Sum("bytes"))
    return ready["requests"] >= settings.BRAZE_READY_REQUESTS or (ready["size"] or 0) >= settings.BRAZE_READY_BYTES


def next_to_send(account_id: int) -> list[UUID]:
    """The oldest requests that nobody has started, as many as the buffer may hold of an account: one at least."""
    found: list[UUID] = []
    size = 0
    rows = unstarted(account_id).values_list("pk", "bytes")
    for delivery_id, weight in rows[: settings.BRAZE_READY_REQUESTS]:
        size += weight
        if found and size > settings.BRAZE_READY_BYTES:
            break
        found.append(delivery_id)
    return found


def start(delivery_id: UUID) -> bool:
    """Whether the caller, and nobody else, may send this request now."""
    now = database_now()
    free = Delivery.objects.filter(pk=delivery_id, started_at=None, finished_at=None)
    return bool(free.update(started_at=now, deadline=now + SILENT_AFTER))


def give_back(delivery_id: UUID) -> None:
    """Undo a start whose request has not left: it is composed anew, since settings may have changed meanwhile."""
    _dissolve(Delivery.objects.filter(pk=delivery_id, finished_at=None))


def silent() -> list[UUID]:
    """Requests started and never settled, past their deadline: their sender is dead or cut off."""
    in_flight = Delivery.objects.filter(started_at__isnull=False, finished_at=None)
    return list(in_flight.filter(deadline__lt=database_now()).values_list("pk", flat=True))


def dissolve_unstarted(account_id: int) -> None:
    """Turn requests that nobody has started back into pending entries, to be composed anew."""
    _dissolve(unstarted(account_id))


def make_way_for_deletions(account_id: int) -> None:
    """Take back unstarted requests with objects of customers who have been deleted since."""
    mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME)
    deleted = mine.filter(status=Status.PENDING, kind=Kind.CUSTOMER_DELETED).values("customer_external_id")
    busy = mine.filter(status=Status.BUFFERED, customer_external_id__in=deleted)
    if batches := [batch for batch in busy.values_list("batch", flat=True).distinct() if batch]:
        _dissolve(unstarted(account_id).filter(pk__in=batches))


@transaction.atomic
def _dissolve(deliveries: "QuerySet[Delivery]") -> None:
    ids = list(deliveries.select_for_update().values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=ids).update(outcome=Outcome.DISSOLVED, finished_at=database_now(), body=b"")
    OutboxEntry.objects.filter(batch__in=ids, integration=NAME, status=Status.BUFFERED).update(
        status=Status.PENDING, batch=None
    )
    BrazePurchase.objects.filter(delivery_id__in=ids, fate=Fate.BUFFERED).update(fate=Fate.PENDING, delivery_id=None)

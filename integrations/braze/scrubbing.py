"""A deleted customer's personal data leaves the outbox and the ledger; ids, times, counts and prices stay.

It begins once Braze has accepted the deletion, with the id of the request that asked for it. Such a request's body is
emptied last: one that has a body, and was accepted, is yet to be worked off. A message that got lost costs an hour.
"""

import logging
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.db.models import Q, QuerySet
from kombu.exceptions import OperationalError

from integrations.braze.integration import NAME
from integrations.braze.mapping.purchases import OF_ORDER
from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery, Endpoint, Outcome
from integrations.outbox.models import Kind, OutboxEntry, Status

logger = logging.getLogger(__name__)

#: Rows changed, and requests rewritten, in one transaction.
BATCH = 100
REMOVED = "removed: the customer was deleted"
#: Arrays of the manifest and of the body that have personal data.
ARRAYS = ("attributes", "events", "purchases")
#: What stays of an entry's data, of an order: its id and what it was captured as.
KEPT_DATA = ("order_id", "status")
#: What stays of a purchase's properties: the shop's words, and not the merchant's own data.
KEPT_PROPERTIES = frozenset({*OF_ORDER, "reversal"})


@dataclass(frozen=True, slots=True)
class Gone:
    """A customer whose deletion Braze has accepted. What has a greater id than the deletion is of one created again."""

    account_id: int
    external_id: str
    deletion: int


def after_settlement(delivery: Delivery) -> None:
    """To be called in the settlement's transaction; starts the work in the background once it is committed."""
    if delivery.endpoint == Endpoint.DELETE:
        transaction.on_commit(partial(_start, delivery.pk), robust=True)


def unfinished() -> list[UUID]:
    """Accepted deletions that are yet to be worked off."""
    accepted = Delivery.objects.filter(endpoint=Endpoint.DELETE, outcome__in=(Outcome.ACCEPTED, Outcome.PARTIAL))
    return list(accepted.exclude(body=b"").order_by("created_at").values_list("pk", flat=True)[:1_000])


def scrub(delivery_id: UUID) -> int:
    """Remove what is kept of the customers that this request deleted; how many they were. Repeating it is harmless."""
    delivery = Delivery.objects.filter(pk=delivery_id, endpoint=Endpoint.DELETE).first()
    if delivery is None or delivery.outcome not in (Outcome.ACCEPTED, Outcome.PARTIAL):
        return 0
    customers = _deleted_by(delivery)
    for customer in customers:
        _scrub(customer, delivery)
    Delivery.objects.filter(pk=delivery_id).update(body=b"")
    return len(customers)


def _start(delivery_id: UUID) -> None:
    from integrations.braze import tasks

    try:
        tasks.scrub.apply_async((str(delivery_id),), expires=3_600)
    except OperationalError as error:
        logger.info("customers deleted by %s are scrubbed later: %s", delivery_id, type(error).__name__)


def _deleted_by(delivery: Delivery) -> list[Gone]:
    entries = OutboxEntry.objects.filter(batch=delivery.pk, kind=Kind.CUSTOMER_DELETED, status=Status.DELIVERED)
    latest: dict[str, int] = {}
    for pk, external_id in entries.order_by("pk").values_list("pk", "customer_external_id"):
        latest[external_id] = pk
    return [Gone(delivery.account_id, external_id, pk) for external_id, pk in latest.items()]


def _scrub(customer: Gone, deletion: Delivery) -> None:
    entries = OutboxEntry.objects.filter(
        account_id=customer.account_id,
        integration=NAME,
        customer_external_id=customer.external_id,
        pk__lt=customer.deletion,
    )
    purchases = BrazePurchase.objects.filter(
        account_id=customer.account_id, customer_external_id=customer.external_id, created_at__lte=deletion.created_at
    )
    for request_ids in _batches(_requests_of(customer, deletion, entries, purchases)):
        _clear_requests(request_ids, customer.external_id)
    for ids in _batches(entries.order_by("pk").values_list("pk", flat=True)):
        _clear_entries(ids)
    for ids in _batches(purchases.order_by("pk").values_list("pk", flat=True)):
        _clear_purchases(ids)
    _clear_mirror(customer)


def _batches(ids: "QuerySet[Any, Any]") -> Iterator[list[Any]]:
    """Read at once: what is changed on the way must not move the rest."""
    found = list(ids)
    for start in range(0, len(found), BATCH):
        yield found[start : start + BATCH]


# --- requests -------------------------------------------------------------------------------------------


def _requests_of(
    customer: Gone, deletion: Delivery, entries: "QuerySet[OutboxEntry]", purchases: "QuerySet[BrazePurchase]"
) -> "QuerySet[Any, Any]":
    """Requests that may hold something of the customer.

    An entry names the last of its requests, a purchase its own. Any other has not been accepted, which is rare, so
    all of those are looked through.
    """
    theirs = Q(pk__in=entries.filter(batch__isnull=False).values("batch"))
    theirs |= Q(pk__in=purchases.filter(delivery_id__isnull=False).values("delivery_id"))
    theirs |= ~Q(outcome=Outcome.ACCEPTED)
    requests = Delivery.objects.filter(theirs, account_id=customer.account_id, finished_at__isnull=False)
    requests = requests.filter(created_at__lte=deletion.created_at, endpoint=Endpoint.TRACK)
    return requests.order_by("created_at").values_list("pk", flat=True)


@transaction.atomic
def _clear_requests(ids: Collection[UUID], external_id: str) -> None:
    for request in Delivery.objects.select_for_update().filter(pk__in=ids, finished_at__isnull=False):
        if not _names(request, external_id):
            continue
        if request.body:
            _clear_body(request, external_id)
        elif request.outcome != Outcome.ACCEPTED:
            request.answer = REMOVED  # Braze may have quoted what is no longer there to compare with
        request.save(update_fields=["body", "answer"])


def _names(request: Delivery, external_id: str) -> bool:
    return any(line["customer"] == external_id for array in ARRAYS for line in request.manifest.get(array, []))


def _clear_body(request: Delivery, external_id: str) -> None:
    """An object keeps its place, and the id of whom it was about: the manifest goes by places."""
    payload = request.payload
    for array in ARRAYS:
        for index, line in enumerate(request.manifest.get(array, [])):
            if line["customer"] == external_id and index < len(payload.get(array, [])):
                for value in _texts(payload[array][index]):
                    request.answer = request.answer.replace(value, "[removed]")
                payload[array][index] = {"external_id": external_id, "removed": "the customer was deleted"}
    request.body = zlib.compress(orjson.dumps(payload), 1)


def _texts(value: Any) -> Iterator[str]:
    """What Braze might quote of an object: texts long enough to tell something, ids of ours excepted."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("external_id", "purchase_id", "event_id", "order_id", "name", "product_id"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str) and len(value) > 2:
        yield value


# --- rows -----------------------------------------------------------------------------------------------


@transaction.atomic
def _clear_entries(ids: Collection[int]) -> None:
    """The rule that skipped a change is ours, and stays; Braze's words and people's may name somebody."""
    entries = list(OutboxEntry.objects.select_for_update().filter(pk__in=ids))
    for entry in entries:
        entry.data = {name: entry.data[name] for name in KEPT_DATA if name in entry.data}
        entry.adjustments = []
        if entry.error and entry.status != Status.SKIPPED:
            entry.error = REMOVED
    OutboxEntry.objects.bulk_update(entries, ["data", "adjustments", "error"])


@transaction.atomic
def _clear_purchases(ids: Collection[int]) -> None:
    rows = list(BrazePurchase.objects.select_for_update().filter(pk__in=ids))
    for row in rows:
        row.properties = {name: value for name, value in row.properties.items() if name in KEPT_PROPERTIES}
        row.error = REMOVED if row.error else ""
    BrazePurchase.objects.bulk_update(rows, ["properties", "error"])


def _clear_mirror(customer: Gone) -> None:
    """Settling the deletion has emptied it, unless the customer was created again since."""
    mirrored = BrazeProfile.objects.filter(account_id=customer.account_id, external_id=customer.external_id)
    mirrored.filter(deleted_at__isnull=False).update(attributes={}, uncertain=[], refused={}, recent={})

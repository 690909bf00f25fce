"""A deleted customer's personal data leaves the outbox and the ledger; ids, times, counts and prices stay.

It begins once Braze has accepted the deletion, with the id of the request that asked for it. Such a request's body is
emptied last: one that has a body, and was accepted, is yet to be worked off. A message that got lost costs an hour.
"""

import logging
import zlib
from collections.abc import Collection, Iterable, Iterator
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


def after_settlement(settled: Iterable[Delivery]) -> None:
    """To be called in the settlement's transaction; starts the work in the background once it is committed."""
    for delivery in settled:
        if delivery.endpoint == Endpoint.DELETE:
            transaction.on_commit(partial(_start, delivery.pk), robust=True)


def unfinished() -> list[UUID]:
    """Accepted deletions that are yet to be worked off."""
    accepted = Delivery.objects.filter(endpoint=Endpoint.DELETE, outcome__in=(Outcome.ACCEPTED, Outcome.PARTIAL))
    return list(accepted.exclude(body=b"").order_by("created_at").values_list("pk", flat=True)[:1_000])


def scrub(delivery_id: UUID) -> int:
    """Remove what is kept of the customers that this request deleted; how many they were. Repeating it is harmless."""
    deletion = Delivery.objects.filter(pk=delivery_id, endpoint=Endpoint.DELETE).first()
    if deletion is None or deletion.outcome not in (Outcome.ACCEPTED, Outcome.PARTIAL):
        return 0
    if customers := _deleted_by(deletion):
        _scrub(deletion, customers)
    Delivery.objects.filter(pk=delivery_id).update(body=b"")
    return len(customers)


def _start(delivery_id: UUID) -> None:
    from integrations.braze import tasks

    try:
        tasks.scrub.apply_async((str(delivery_id),), expires=3_600)
    except OperationalError as error:
        logger.info("customers deleted by %s are scrubbed later: %s", delivery_id, type(error).__name__)


def _deleted_by(deletion: Delivery) -> dict[str, int]:
    """By customer the id of the entry that asked for it: what has a greater one is of a customer created again."""
    asked = {pk for line in deletion.manifest.get("deletions", []) for pk in line["entries"]}
    entries = OutboxEntry.objects.filter(pk__in=asked, kind=Kind.CUSTOMER_DELETED, status=Status.DELIVERED)
    return dict(entries.order_by("pk").values_list("customer_external_id", "pk"))


def _scrub(deletion: Delivery, customers: dict[str, int]) -> None:
    """All customers of a request together: requests that were not accepted are looked through once for them."""
    entries = OutboxEntry.objects.filter(
        account_id=deletion.account_id,
        integration=NAME,
        customer_external_id__in=customers,
        pk__lt=max(customers.values()),
    )
    purchases = BrazePurchase.objects.filter(
        account_id=deletion.account_id, customer_external_id__in=customers, created_at__lte=deletion.created_at
    )
    for request_ids in _batches(_requests(deletion, entries, purchases)):
        _clear_requests(request_ids, customers)
    for ids in _batches(entries.order_by("pk").values_list("pk", flat=True)):
        _clear_entries(ids, customers)
    for ids in _batches(purchases.order_by("pk").values_list("pk", flat=True)):
        _clear_purchases(ids)
    _clear_mirror(deletion.account_id, customers)


def _batches(ids: "QuerySet[Any, Any]") -> Iterator[list[Any]]:
    """Read at once: what is changed on the way must not move the rest."""
    found = list(ids)
    for start in range(0, len(found), BATCH):
        yield found[start : start + BATCH]


# --- requests -------------------------------------------------------------------------------------------


def _requests(
    deletion: Delivery, entries: "QuerySet[OutboxEntry]", purchases: "QuerySet[BrazePurchase]"
) -> "QuerySet[Any, Any]":
    """Requests that may hold something of the customers.

    An entry names the last of its requests, a purchase its own. Any other has not been accepted, which is rare, so
    all of those are looked through.
    """
    theirs = Q(pk__in=entries.filter(batch__isnull=False).values("batch"))
    theirs |= Q(pk__in=purchases.filter(delivery_id__isnull=False).values("delivery_id"))
    theirs |= ~Q(outcome=Outcome.ACCEPTED)
    requests = Delivery.objects.filter(theirs, account_id=deletion.account_id, finished_at__isnull=False)
    requests = requests.filter(created_at__lte=deletion.created_at, endpoint=Endpoint.TRACK)
    return requests.order_by("created_at").values_list("pk", flat=True)


@transaction.atomic
def _clear_requests(ids: Collection[UUID], customers: Collection[str]) -> None:
    for request in Delivery.objects.select_for_update().filter(pk__in=ids, finished_at__isnull=False):
        if not _names(request, customers):
            continue
        if request.body:
            _clear_body(request, customers)
        elif request.outcome != Outcome.ACCEPTED:
            request.answer = REMOVED  # Braze may have quoted what is no longer there to compare with
        request.save(update_fields=["body", "answer"])


def _names(request: Delivery, customers: Collection[str]) -> bool:
    return any(line["customer"] in customers for array in ARRAYS for line in request.manifest.get(array, []))


def _clear_body(request: Delivery, customers: Collection[str]) -> None:
    """An object keeps its place, and the id of whom it was about: the manifest goes by places."""
    payload = request.payload
    for array in ARRAYS:
        for index, line in enumerate(request.manifest.get(array, [])):
            if line["customer"] in customers and index < len(payload.get(array, [])):
                for value in _texts(payload[array][index]):
                    request.answer = request.answer.replace(value, "[removed]")
                payload[array][index] = {"external_id": line["customer"], "removed": "the customer was deleted"}
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
def _clear_entries(ids: Collection[int], customers: dict[str, int]) -> None:
    """The rule that skipped a change is ours, and stays; Braze's words and people's may name somebody."""
    entries = list(OutboxEntry.objects.select_for_update().filter(pk__in=ids))
    entries = [entry for entry in entries if entry.pk < customers[entry.customer_external_id]]
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


def _clear_mirror(account_id: int, customers: Collection[str]) -> None:
    """Settling the deletions has emptied it, unless a customer was created again since."""
    mirrored = BrazeProfile.objects.filter(account_id=account_id, external_id__in=customers)
    mirrored.filter(deleted_at__isnull=False).update(attributes={}, uncertain=[], refused={}, recent={})

"""What is personal of deleted customers is removed from entries, requests, purchases and the mirror; the rest stays.

When that is due is for `scrubbing.py` to say. Repeating it is harmless.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID

import orjson
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from integrations.braze.integration import NAME
from integrations.braze.mapping.purchases import OF_ORDER
from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery, Outcome
from integrations.outbox.models import IN_ANY_STATE, Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Order
from masivo_braze.loyalty.querysets import chunked

#: Rows changed, or requests rewritten, in one transaction.
BATCH = 100
REMOVED = "removed: the customer was deleted"
#: Arrays of the manifest and of the body that have personal data.
ARRAYS = ("attributes", "events", "purchases")
#: What stays of an entry's data, of an order: its id and what it was captured as.
KEPT_DATA = ("order_id", "status")
#: What stays of a purchase's properties: the shop's words, and not the merchant's own data.
KEPT_PROPERTIES = frozenset({*OF_ORDER, "reversal"})
#: By customer the last entry that is the deleted one's: what has a greater id is of a customer created again.
Customers = Mapping[str, int]


def erase(account_id: int, customers: Customers) -> None:
    entries = OutboxEntry.objects.filter(
        IN_ANY_STATE,
        account_id=account_id,
        integration=NAME,
        customer_external_id__in=customers,
        pk__lte=max(customers.values()),
    )
    purchases = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__in=customers)
    for requests in chunked(sorted(_requests(account_id, entries, purchases)), BATCH):
        _clear_requests(requests, customers)
    for ids in chunked(list(entries.order_by("pk").values_list("pk", flat=True)), BATCH):
        _clear_entries(ids, customers)
    for ids in chunked(list(_of_lost_orders(account_id, purchases).values_list("pk", flat=True)), BATCH):
        _clear_purchases(ids)
    for names in chunked(sorted(customers), BATCH):
        _clear_mirror(account_id, {name: customers[name] for name in names})


# --- requests -------------------------------------------------------------------------------------------


def _requests(account_id: int, entries: "QuerySet[OutboxEntry]", purchases: "QuerySet[BrazePurchase]") -> set[UUID]:
    """Requests that may hold something of the customers.

    An entry names the last of its requests, a purchase its own. Any other that was sent has not been accepted, which
    is rare, so all of those are looked through.
    """
    finished = Delivery.objects.filter(account_id=account_id, finished_at__isnull=False)
    others = finished.exclude(outcome__in=(Outcome.ACCEPTED, Outcome.DISSOLVED)).exclude(
        body=b"", answer__in=("", REMOVED)
    )
    found = {batch for batch in entries.values_list("batch", flat=True).distinct() if batch}
    found |= {request for request in purchases.values_list("delivery_id", flat=True).distinct() if request}
    return found | set(others.values_list("pk", flat=True))


@transaction.atomic
def _clear_requests(ids: Collection[UUID], customers: Customers) -> None:
    """A request on its way is let alone: its customers are not worked off before it has ended."""
    chosen = Delivery.objects.filter(pk__in=ids, finished_at__isnull=False)
    naming = [request.pk for request in chosen.only("manifest") if any(_theirs(request, customers))]
    for request in Delivery.objects.select_for_update().filter(pk__in=naming).order_by("pk"):
        if request.body:
            _clear_body(request, customers)
        elif request.outcome != Outcome.ACCEPTED:
            request.answer = REMOVED  # Braze may have quoted what is no longer there to compare with
        request.save(update_fields=["body", "answer"])


def _theirs(request: Delivery, customers: Customers) -> Iterator[tuple[str, int]]:
    """Array and place of each object about one of them. A manifest names the changes behind an object."""
    for array in ARRAYS:
        for index, line in enumerate(request.manifest.get(array, ())):
            if line["customer"] in customers and max(line["entries"], default=0) <= customers[line["customer"]]:
                yield array, index


def _clear_body(request: Delivery, customers: Customers) -> None:
    """An object keeps its place, and the id of whom it was about: the manifest goes by places."""
    payload = request.payload
    for array, index in _theirs(request, customers):
        sent = payload[array][index]
        for value in _texts(sent):
            request.answer = request.answer.replace(value, "[removed]")
        payload[array][index] = {"external_id": sent["external_id"], "removed": "the customer was deleted"}
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
def _clear_entries(ids: Collection[int], customers: Customers) -> None:
    """The rule that skipped a change is ours, and stays; Braze's words and people's may name somebody.

    What a change that waits has to say (the names of removed tags, an audience's) is needed until it has ended.
    """
    rows = OutboxEntry.objects.select_for_update().filter(pk__in=ids).exclude(status=Status.BUFFERED)
    entries = [entry for entry in rows.order_by("pk") if entry.pk <= customers[entry.customer_external_id]]
    for entry in entries:
        entry.adjustments = []
        if entry.status != Status.PENDING:
            entry.data = {name: entry.data[name] for name in KEPT_DATA if name in entry.data}
        if entry.error and _may_quote(entry):
            entry.error = REMOVED
    OutboxEntry.objects.bulk_update(entries, ["data", "adjustments", "error"])
    _clear_history([entry.pk for entry in entries if entry.status == Status.DISCARDED])


def _may_quote(entry: OutboxEntry) -> bool:
    """A deletion says nothing but the id, so Braze cannot have quoted more; what is parked waits by a rule of ours."""
    return not (entry.status == Status.SKIPPED or entry.kind == Kind.CUSTOMER_DELETED or entry.parked)


def _clear_history(ids: Collection[int]) -> None:
    """Who discarded a change, and when, stays; the reason that was typed goes."""
    if ids:
        kind = ContentType.objects.get_for_model(OutboxEntry)
        written = LogEntry.objects.filter(content_type=kind, object_id__in=[str(pk) for pk in ids])
        written.filter(change_message__startswith="Discarded: ").update(change_message=f"Discarded: {REMOVED}")


def _of_lost_orders(account_id: int, purchases: "QuerySet[BrazePurchase]") -> "QuerySet[BrazePurchase]":
    """An order goes with its customer; one that is there is of a customer created again."""
    there = Order.objects.filter(account_id=account_id, order_id=OuterRef("order_id"))
    return purchases.filter(~Exists(there)).order_by("pk")


@transaction.atomic
def _clear_purchases(ids: Collection[int]) -> None:
    rows = list(BrazePurchase.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
    for row in rows:
        row.properties = {name: value for name, value in row.properties.items() if name in KEPT_PROPERTIES}
        row.error = REMOVED if row.error else ""
    BrazePurchase.objects.bulk_update(rows, ["properties", "error"])


@transaction.atomic
def _clear_mirror(account_id: int, customers: Customers) -> None:
    """Values go; the names stay as uncertain where Braze still has the user, or a customer who is created again could
    not be rid of them there.

    Rows are locked before it is looked what is on its way: a settlement writes what it has read. Where something of a
    customer created again was sent, the mirror is that one's.
    """
    profiles = BrazeProfile.objects.filter(account_id=account_id, external_id__in=customers)
    locked = list(profiles.select_for_update().order_by("pk"))
    busy = _in_use(account_id, customers)
    cleared = [profile for profile in locked if profile.external_id not in busy]
    for profile in cleared:
        profile.uncertain = sorted({*profile.attributes, *profile.uncertain}) if profile.deleted_at is None else []
        profile.attributes, profile.refused = {}, {}
    BrazeProfile.objects.bulk_update(cleared, ["attributes", "uncertain", "refused"])


def _in_use(account_id: int, customers: Customers) -> set[str]:
    theirs = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, customer_external_id__in=customers)
    last: dict[str, int] = defaultdict(int)
    for customer, pk in theirs.filter(status=Status.DELIVERED).values_list("customer_external_id").annotate(Max("pk")):
        last[customer] = pk
    later = {customer for customer, pk in last.items() if pk > customers[customer]}
    return later.union(theirs.filter(status=Status.BUFFERED).values_list("customer_external_id", flat=True))

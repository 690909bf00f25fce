"""Removes the personal data of deleted customers from entries, requests, purchases and the mirror; the rest stays.

`scrubbing.py` decides when. Repeating it is harmless. Rows that somebody else has locked are left out: to wait for them
while holding others could end in a deadlock, and a transaction that deletes customers may take its time.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from uuid import UUID

import orjson
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, QuerySet

from integrations.braze.erasure import quotes
from integrations.braze.integration import entries_of
from integrations.braze.mapping.purchases import OF_ORDER
from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery, Outcome
from integrations.braze.models.ledger import TRACKED
from integrations.outbox.models import IN_ANY_STATE, Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Order
from masivo_braze.loyalty.querysets import chunked

#: Rows changed, or requests rewritten, in one transaction.
BATCH = 100
REMOVED = "removed: the customer was deleted"
#: What stays of the data of an order's entry: the order's id, and the status as captured.
KEPT_DATA = ("order_id", "status")
#: What stays of a purchase's properties: those that every shop has, not the line's own data.
KEPT_PROPERTIES = frozenset({*OF_ORDER, "reversal"})
#: Customer → id of the deleted customer's last entry: greater ids belong to a customer created again.
Customers = Mapping[str, int]


def erase(account_id: int, customers: Customers) -> set[str]:
    """Remove what is kept of these customers, in many short transactions. What is on its way is left as it is.

    Returns those of whom something was locked: that is left, too.
    """
    entries = entries_of(account_id).filter(
        IN_ANY_STATE, customer_external_id__in=customers, pk__lte=max(customers.values())
    )
    purchases = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__in=customers)
    left: set[str] = set()
    for requests in chunked(sorted(_requests(account_id, entries, purchases)), BATCH):
        left |= _clear_requests(requests, customers)
    for ids in chunked(list(entries.order_by("pk").values_list("pk", flat=True)), BATCH):
        left |= _clear_entries(ids, customers)
    for ids in chunked(list(_of_lost_orders(account_id, purchases).values_list("pk", flat=True)), BATCH):
        left |= _clear_purchases(ids)
    for names in chunked(sorted(customers), BATCH):
        left |= _clear_mirror(account_id, {name: customers[name] for name in names})
    return left


# --- requests -------------------------------------------------------------------------------------------


def _requests(account_id: int, entries: "QuerySet[OutboxEntry]", purchases: "QuerySet[BrazePurchase]") -> set[UUID]:
    """Ids of requests that may hold something of the customers.

    An entry names its last request, a purchase its own. Earlier requests were not accepted; as these are rare, all of
    them are looked through.
    """
    finished = Delivery.objects.filter(account_id=account_id, finished_at__isnull=False)
    others = finished.exclude(outcome__in=(Outcome.ACCEPTED, Outcome.DISSOLVED)).exclude(
        body=b"", answer__in=("", REMOVED)
    )
    found = {batch for batch in entries.values_list("batch", flat=True).distinct() if batch}
    found |= {request for request in purchases.values_list("delivery_id", flat=True).distinct() if request}
    return found | set(others.values_list("pk", flat=True))


@transaction.atomic
def _clear_requests(ids: Collection[UUID], customers: Customers) -> set[str]:
    """Only finished requests: a customer in any other is seen to again once it has ended."""
    chosen = Delivery.objects.filter(pk__in=ids, finished_at__isnull=False)
    named = {request.pk: _named(request, customers) for request in chosen.only("manifest")}
    naming = [pk for pk, names in named.items() if names]
    for request in Delivery.objects.filter(pk__in=naming).select_for_update(skip_locked=True):
        if request.body:
            if not _clear_body(request, customers):
                continue
        elif request.outcome != Outcome.ACCEPTED:
            request.answer = REMOVED  # Braze may have quoted what is no longer there to compare with
        request.save(update_fields=["body", "answer"])
        del named[request.pk]
    return set().union(*named.values())


def _named(request: Delivery, customers: Customers) -> set[str]:
    return {request.manifest[array][index]["customer"] for array, index in _theirs(request, customers)}


def _theirs(request: Delivery, customers: Customers) -> Iterator[tuple[str, int]]:
    """Array and index of each object about one of the customers, by the entries that the manifest names for it."""
    for array in TRACKED:  # a deletion has nothing but an id
        for index, line in enumerate(request.manifest.get(array, ())):
            if line["customer"] in customers and max(line["entries"], default=0) <= customers[line["customer"]]:
                yield array, index


def _clear_body(request: Delivery, customers: Customers) -> bool:
    """Replace the customers' objects by stubs with their id: the manifest refers to objects by their position.

    What Braze quoted of them goes first, as it can only be told by the objects: nothing is done, and False returned, if
    somebody has something locked that may quote them.
    """
    payload = request.payload
    theirs = list(_theirs(request, customers))
    texts = {text for array, index in theirs for text in quotes.texts_of(payload[array][index])}
    answer = quotes.without(request.answer, texts)
    if answer != request.answer and not quotes.clear_reasons(request, texts):
        return False
    request.answer = answer
    for array, index in theirs:
        external_id = payload[array][index]["external_id"]
        payload[array][index] = {"external_id": external_id, "removed": "the customer was deleted"}
    request.body = zlib.compress(orjson.dumps(payload), 1)
    return True


# --- rows -----------------------------------------------------------------------------------------------


@transaction.atomic
def _clear_entries(ids: Collection[int], customers: Customers) -> set[str]:
    """Clear adjustments, data and reasons. A skip's reason stays, as it is a rule; others may quote personal data.

    The data of a waiting entry (names of removed tags, of an audience) is needed until it has ended, and stays.
    """
    rows = OutboxEntry.objects.filter(pk__in=ids).exclude(status=Status.BUFFERED)
    free = rows.select_for_update(skip_locked=True)
    entries = [entry for entry in free if entry.pk <= customers[entry.customer_external_id]]
    for entry in entries:
        entry.adjustments = []
        if entry.status != Status.PENDING:
            entry.data = {name: entry.data[name] for name in KEPT_DATA if name in entry.data}
        if entry.error and _may_quote(entry):
            entry.error = REMOVED
    OutboxEntry.objects.bulk_update(entries, ["data", "adjustments", "error"])
    clear_history([entry.pk for entry in entries if entry.status == Status.DISCARDED], REMOVED)
    others = rows.exclude(pk__in=[entry.pk for entry in entries]).values_list("pk", "customer_external_id")
    return {customer for pk, customer in others if pk <= customers[customer]}


def _may_quote(entry: OutboxEntry) -> bool:
    """Whether the reason may quote personal data.

    Reasons of skips and parking are ours, and a deletion has only an id.
    """
    return not (entry.status == Status.SKIPPED or entry.kind == Kind.CUSTOMER_DELETED or entry.parked)


def clear_history(ids: Collection[int], words: str) -> None:
    """Put `words` for the reasons that people typed when they discarded changes; who did it and when stays."""
    if ids:
        kind = ContentType.objects.get_for_model(OutboxEntry)
        written = LogEntry.objects.filter(content_type=kind, object_id__in=[str(pk) for pk in ids])
        written.filter(change_message__startswith="Discarded: ").update(change_message=f"Discarded: {words}")


def _of_lost_orders(account_id: int, purchases: "QuerySet[BrazePurchase]") -> "QuerySet[BrazePurchase]":
    """Purchases whose order is gone, with its customer; their order that exists is of a customer created again.

    Its number alone says nothing: another customer's order may have it by now.
    """
    there = Order.objects.filter(
        account_id=account_id, order_id=OuterRef("order_id"), customer__external_id=OuterRef("customer_external_id")
    )
    return purchases.filter(~Exists(there)).order_by("pk")


@transaction.atomic
def _clear_purchases(ids: Collection[int]) -> set[str]:
    chosen = BrazePurchase.objects.filter(pk__in=ids)
    rows = list(chosen.select_for_update(skip_locked=True))
    for row in rows:
        row.properties = {name: value for name, value in row.properties.items() if name in KEPT_PROPERTIES}
        row.error = REMOVED if row.error else ""
    BrazePurchase.objects.bulk_update(rows, ["properties", "error"])
    others = chosen.exclude(pk__in=[row.pk for row in rows])
    return set(others.values_list("customer_external_id", flat=True))


@transaction.atomic
def _clear_mirror(account_id: int, customers: Customers) -> set[str]:
    """Clear the mirror. If Braze still has the user, the attributes' names stay as uncertain.

    Otherwise a customer created again could not be rid of these attributes in Braze. Rows are locked before the check
    of what is on its way, because a settlement writes back what it has read. If something of a customer created again
    was sent, the mirror is that customer's, and stays.
    """
    profiles = BrazeProfile.objects.filter(account_id=account_id, external_id__in=customers)
    free = list(profiles.select_for_update(skip_locked=True))
    busy = _in_use(account_id, customers)
    cleared = [profile for profile in free if profile.external_id not in busy]
    for profile in cleared:
        profile.uncertain = sorted({*profile.attributes, *profile.uncertain}) if profile.deleted_at is None else []
        profile.attributes, profile.refused = {}, {}
    BrazeProfile.objects.bulk_update(cleared, ["attributes", "uncertain", "refused"])
    others = profiles.exclude(pk__in=[profile.pk for profile in free])
    return set(others.values_list("external_id", flat=True))


def _in_use(account_id: int, customers: Customers) -> set[str]:
    theirs = entries_of(account_id).filter(customer_external_id__in=customers)
    last: dict[str, int] = defaultdict(int)
    for customer, pk in theirs.filter(status=Status.DELIVERED).values_list("customer_external_id").annotate(Max("pk")):
        last[customer] = pk
    later = {customer for customer, pk in last.items() if pk > customers[customer]}
    return later.union(theirs.filter(status=Status.BUFFERED).values_list("customer_external_id", flat=True))

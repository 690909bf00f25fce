"""Checks whether the books balance: whether entries, requests and purchases agree with each other.

Every captured change is an entry, and is in exactly one place: delivered, skipped, rejected, unknown, discarded, or on
its way. That the statuses add up to the number of entries proves nothing, so each claim is compared with rows that
other code wrote: a buffered entry with the manifest of its request, a purchase's fate with the entries of its order and
with the body that was sent, a reversal with its sale.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, QuerySet

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.delivery import ledger
from integrations.braze.delivery.splitting import IN_BODY
from integrations.braze.integration import entries_of
from integrations.braze.mapping import money
from integrations.braze.models import BrazePurchase, Delivery, Fate, Outcome
from integrations.braze.models.ledger import ARRAYS
from integrations.outbox.capture import DELETED_REASON
from integrations.outbox.clock import database_now
from integrations.outbox.models import IS_ON_THE_WAY, Status
from masivo_braze.loyalty.models import Order

ON_THE_WAY = (Status.PENDING, Status.BUFFERED)
#: Fate of a purchase → statuses of which its order's entries must have at least one.
SHOWN_BY = {
    Fate.PENDING: ON_THE_WAY,
    Fate.BUFFERED: (Status.BUFFERED,),
    Fate.UNKNOWN: (Status.UNKNOWN, Status.REJECTED, *ON_THE_WAY),
    Fate.REJECTED: (Status.REJECTED, Status.UNKNOWN, *ON_THE_WAY),
}


def count(account_id: int) -> dict[str, int]:
    """Numbers of entries by status, for every `Status`, and "captured", counted by a query of its own."""
    mine = entries_of(account_id)
    counts = Counter(dict(mine.order_by().values_list("status").annotate(Count("pk"))))
    return {"captured": mine.count(), **{status.value: counts[status.value] for status in Status}}


def check(account_id: int) -> list[str]:
    """In words, what does not balance; [] if everything does. Reads one snapshot, whatever is written meanwhile."""
    with at_one_moment():
        return [
            *_sums(account_id),
            *_buffered(account_id),
            *_finished(account_id),
            *_purchases_on_their_way(account_id),
            *_purchases_and_entries(account_id),
            *_purchases_as_sent(account_id),
            *_reversals(account_id),
        ]


def revenue(account_id: int) -> Iterator[str]:
    """In words, fully delivered orders for which Braze was not sent what their lines add up to now.

    Editing a line that was sent sends nothing, so this may differ although the books balance.
    """
    rows = BrazePurchase.objects.filter(account_id=account_id).order_by()
    undelivered = set(rows.exclude(fate=Fate.DELIVERED).values_list("order_id", flat=True))
    whole = set(rows.values_list("order_id", flat=True)) - undelivered
    orders = Order.objects.filter(account_id=account_id, status="FULFILLED").select_related("account", "customer")
    for order in orders.prefetch_related("lines").iterator(500):
        if order.order_id in whole and not _has_more_to_send(order):
            yield from _total(order, rows)


@contextmanager
def at_one_moment() -> Iterator[None]:
    """A read-only transaction on one snapshot (PostgreSQL); within another transaction, that one as it is."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


# --- entries --------------------------------------------------------------------------------------------


def _sums(account_id: int) -> Iterator[str]:
    counts = count(account_id)
    if (told := sum(counts[status.value] for status in Status)) != counts["captured"]:
        yield f"{counts['captured']} changes were captured, and {told} are somewhere"


def _buffered(account_id: int) -> Iterator[str]:
    """A buffered entry is named by exactly one open request, its own; and open requests name only buffered entries."""
    in_request: dict[int, list[UUID]] = defaultdict(list)
    for delivery in Delivery.objects.filter(account_id=account_id, finished_at=None).iterator(200):
        yield from _sizes(delivery)
        for pk in ledger.named([delivery.manifest]):
            in_request[pk].append(delivery.pk)
    buffered = dict(entries_of(account_id).filter(status=Status.BUFFERED).values_list("pk", "batch"))
    for pk, batch in buffered.items():
        if in_request.get(pk) != [batch]:
            yield f"change {pk} is buffered for request {batch}; open requests name it: {_list(in_request[pk])}"
    for pk in in_request.keys() - buffered.keys():
        yield f"request {_list(in_request[pk])} is open and names change {pk}, which is not buffered"


def _sizes(delivery: Delivery) -> Iterator[str]:
    """The numbers of objects in columns, manifest and body agree."""
    payload = delivery.payload
    for array in ARRAYS:
        sent = payload.get(IN_BODY[array], [])
        told = {getattr(delivery, array), len(delivery.manifest.get(array, [])), len(sent)}
        if len(told) > 1:
            yield f"request {delivery.pk} has, of {array}, {_list(sorted(told))}: columns, manifest and body differ"


def _finished(account_id: int) -> Iterator[str]:
    """The request of a settled entry is finished and names the entry, if it has not been purged."""
    ended = entries_of(account_id).exclude(status__in=[*ON_THE_WAY, Status.SKIPPED]).filter(batch__isnull=False)
    by_request: dict[UUID, set[int]] = defaultdict(set)
    for pk, batch in ended.values_list("pk", "batch").iterator(2_000):
        if batch:
            by_request[batch].add(pk)
    kept = Delivery.objects.filter(account_id=account_id).defer("body")
    for delivery in kept.iterator(200):
        theirs = by_request.get(delivery.pk, set())
        if theirs and delivery.finished_at is None:
            yield f"changes {_list(sorted(theirs))} are settled, and their request {delivery.pk} is not"
        if others := theirs - ledger.named([delivery.manifest]):
            yield f"changes {_list(sorted(others))} are settled by request {delivery.pk}, which does not name them"


# --- purchases ------------------------------------------------------------------------------------------


def _purchases_on_their_way(account_id: int) -> Iterator[str]:
    in_request: dict[int, list[UUID]] = defaultdict(list)
    with_purchases = Delivery.objects.filter(account_id=account_id, finished_at=None, purchases__gt=0)
    for delivery in with_purchases.defer("body").iterator(200):
        for line in delivery.manifest.get("purchases", []):
            in_request[line["purchase"]].append(delivery.pk)
    buffered = BrazePurchase.objects.filter(account_id=account_id, fate=Fate.BUFFERED)
    of = dict(buffered.values_list("pk", "delivery_id"))
    for pk, delivery_id in of.items():
        if in_request.get(pk) != [delivery_id]:
            yield f"purchase {pk} is on its way in request {delivery_id}; open ones name it: {_list(in_request[pk])}"
    for pk in in_request.keys() - of.keys():
        yield f"request {_list(in_request[pk])} is open and names purchase {pk}, which is not on its way"


def _purchases_and_entries(account_id: int) -> Iterator[str]:
    """A purchase that is not delivered is shown by an entry of its order, or was skipped with its deleted customer.

    A pending one may stay so: its order was deleted, or purchases were switched off, before it could be sent again.
    Then all entries of the order have ended, and one of them was skipped.
    """
    orders: dict[str, set[str]] = defaultdict(set)
    of_orders = entries_of(account_id).filter(kind__in=ORDER_KINDS).order_by()
    for data, status, error in of_orders.values_list("data", "status", "error").iterator(2_000):
        orders[data.get("order_id", "")].add("deleted" if error == DELETED_REASON else status)
    rows = BrazePurchase.objects.filter(account_id=account_id, fate__in=list(SHOWN_BY))
    expired = database_now() - timedelta(days=settings.BRAZE_RETENTION_DAYS)
    for row in rows.iterator(2_000):
        shown, old = orders.get(row.order_id, set()), bool(row.settled_at and row.settled_at < expired)
        if row.fate == Fate.PENDING and Status.SKIPPED in shown:
            continue
        if not shown & {*map(str, SHOWN_BY[Fate(row.fate)]), "deleted"} and (shown or not old):
            yield f"purchase {row.purchase_id} is {row.fate}, and its order's changes are {_list(sorted(shown))}"


def _purchases_as_sent(account_id: int) -> Iterator[str]:
    """Every purchase in an accepted request has a row, and its price and quantity are those in the request's body.

    Requests that Braze did not accept may name rows that are gone: what never left may be made anew, or be deleted with
    its customer. Scrubbed bodies are not compared.
    """
    rows = BrazePurchase.objects.filter(account_id=account_id)
    taken = Delivery.objects.filter(account_id=account_id, purchases__gt=0)
    taken = taken.exclude(outcome__in=(Outcome.DISSOLVED, Outcome.RETRY, Outcome.REFUSED))
    for delivery in taken.iterator(200):
        named = [line["purchase"] for line in delivery.manifest["purchases"]]
        is_whole = delivery.outcome != Outcome.PARTIAL
        if is_whole and (lost := set(named) - set(rows.filter(pk__in=named).values_list("pk", flat=True))):
            yield f"request {delivery.pk} names purchases that are not there: {_list(sorted(lost))}"
        bodies = dict(zip(named, delivery.payload["purchases"], strict=True)) if delivery.body else {}
        for row in rows.filter(delivery_id=delivery.pk, fate=Fate.DELIVERED):
            body = bodies.get(row.pk, {})
            if delivery.body and "removed" not in body and not _is_as_sent(row, body):
                yield f"purchase {row.purchase_id} is not what request {delivery.pk} says of it"


def _is_as_sent(row: BrazePurchase, body: dict[str, Any]) -> bool:
    return (row.price, row.quantity) == (Decimal(str(body.get("price", 0))), body.get("quantity"))


def _reversals(account_id: int) -> Iterator[str]:
    """A reversal exactly negates a delivered sale; after a restore, both may be in doubt."""
    sales = {
        row.purchase_id: row
        for row in BrazePurchase.objects.filter(account_id=account_id, is_reversal=False).iterator()
    }
    for row in BrazePurchase.objects.filter(account_id=account_id, is_reversal=True).iterator(2_000):
        sale = sales.get(row.purchase_id.removesuffix(":R"))
        if sale and sale.fate != Fate.DELIVERED and row.fate in (Fate.PENDING, Fate.UNKNOWN, Fate.DISCARDED):
            continue
        if sale is None or sale.fate != Fate.DELIVERED:
            yield f"purchase {row.purchase_id} reverses a sale that is {sale.fate if sale else 'not there'}"
        elif (-sale.price, sale.quantity, sale.currency) != (row.price, row.quantity, row.currency):
            yield f"purchase {row.purchase_id} is not the negation of its sale"


def _has_more_to_send(order: Order) -> bool:
    mine = entries_of(order.account_id).filter(kind__in=ORDER_KINDS, subject=str(order.pk))
    return mine.filter(IS_ON_THE_WAY, customer_external_id=order.customer.external_id).exists()


def _total(order: Order, rows: "QuerySet[BrazePurchase]") -> Iterator[str]:
    theirs = rows.filter(order_id=order.order_id).values_list("price", "quantity", "currency")
    sent = sum((price * quantity for price, quantity, _ in theirs), Decimal(0))
    due = sum((line.paid for line in order.lines.all()), Decimal(0))
    currency = next((currency for _, _, currency in theirs), order.effective_currency)
    if abs(sent - due) >= money.smallest_unit(currency):
        yield f"order {order.order_id}: sent {sent.normalize():f} {currency}, and its lines come to {due.normalize():f}"


def _list(values: Any) -> str:
    return ", ".join(map(str, values)) or "none"

"""From loyalty's records to the changes worth capturing. Pure but for the look-ups said to be so."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.models import Model

from integrations.outbox.capture import Change
from integrations.outbox.models import Kind, Topic
from masivo_braze.loyalty.models import Audience, Customer, Event, Membership, Order, OrderLine

#: An order in one of these states may have purchases to send or to negate.
SYNCED_ORDER_STATUSES = frozenset({"FULFILLED", "REVERSED", "CANCELLED"})
CHUNK = 2_000


def customer_created(customer: Customer) -> Change:
    topics = (Topic.CUSTOMER_CREATED, Topic.CUSTOMER_TAGS) if customer.tags else (Topic.CUSTOMER_CREATED,)
    return _of_customer(customer, Kind.CUSTOMER_CREATED, topics, {})


def customer_updated(customer: Customer, tags_before: dict[str, Any] | None) -> Change:
    """`tags_before` is None where it is not known: the tags may then have changed."""
    same_tags = tags_before is not None and tags_before == customer.tags
    topics = (Topic.CUSTOMER_UPDATED,) if same_tags else (Topic.CUSTOMER_UPDATED, Topic.CUSTOMER_TAGS)
    removed = sorted(set(tags_before or {}) - set(customer.tags or {}))
    return _of_customer(customer, Kind.CUSTOMER_UPDATED, topics, {"removed_tags": removed} if removed else {})


def customer_deleted(customer: Customer) -> Change:
    return _of_customer(customer, Kind.CUSTOMER_DELETED, (Topic.CUSTOMER_DELETED,), {})


def _of_customer(customer: Customer, kind: Kind, topics: tuple[Topic, ...], data: dict[str, Any]) -> Change:
    return Change(customer.account_id, kind, customer.external_id, topics, str(customer.pk or ""), data)


def event_created(event: Event) -> Change:
    return Change(event.account_id, Kind.EVENT, event.customer.external_id, (Topic.EVENTS,), str(event.pk))


def orders_changed(orders: Iterable[Order]) -> list[Change]:
    """Only orders that are, or were, fulfilled: the others have nothing to send yet."""
    return [_of_order(order, Kind.ORDER) for order in orders if order.status in SYNCED_ORDER_STATUSES]


def lines_created(lines: Sequence[OrderLine]) -> list[Change]:
    """Lines of orders that are already fulfilled, one change a line.

    The orders are read again, locked: the instances on the lines may be older than a fulfilment that another
    process commits at this moment, and its relay would then never see these lines.
    """
    orders = Order.objects.select_for_update().filter(pk__in={line.order_id for line in lines})
    by_pk = {order.pk: order for order in orders.order_by("pk")}
    return [
        _of_order(by_pk[line.order_id], Kind.ORDER_LINE)
        for line in lines
        if line.order_id in by_pk and by_pk[line.order_id].status in SYNCED_ORDER_STATUSES
    ]


def _of_order(order: Order, kind: Kind) -> Change:
    """The status as captured tells a fulfilment from a reversal of an order that was never wanted."""
    data = {"order_id": order.order_id, "status": order.status}
    return Change(order.account_id, kind, order.customer.external_id, (Topic.ORDERS,), str(order.pk), data)


def membership_changed(membership: Membership, kind: Kind) -> Change:
    audience, customer = membership.audience, membership.customer
    return _of_audience(audience, customer.external_id, kind, {})


def audience_renamed(audience: Audience, old_name: str) -> Iterator[list[Change]]:
    """A change for every member, in chunks, so that memory stays flat for large audiences."""
    members = Membership.objects.filter(audience=audience).order_by("pk")
    chunk: list[Change] = []
    for external_id in members.values_list("customer__external_id", flat=True).iterator(CHUNK):
        chunk.append(_of_audience(audience, external_id, Kind.AUDIENCE_RENAMED, {"old_name": old_name}))
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _of_audience(audience: Audience, external_id: str, kind: Kind, data: dict[str, Any]) -> Change:
    data = {"audience_id": audience.audience_id, "name": audience.name, **data}
    return Change(audience.account_id, kind, external_id, (Topic.AUDIENCES,), str(audience.pk), data)


def of_rows(
    sender: type[Model], action: str, rows: Sequence[Any], before: dict[Any, dict[str, Any]]
) -> Iterator[list[Change]]:
    """The changes behind one `rows_changed` signal of loyalty, in lists to be recorded together."""
    if sender is Customer and action == "created":
        yield [customer_created(row) for row in rows]
    elif sender is Customer and action == "updated":
        yield [customer_updated(row, before.get(row.pk, {}).get("tags")) for row in rows]
    elif sender is Event and action == "created":
        yield [event_created(row) for row in rows]
    elif sender is Order and action in ("created", "updated"):
        yield orders_changed(rows)
    elif sender is OrderLine and action == "created":
        yield lines_created(rows)
    elif sender is Membership and action in ("created", "deleted"):
        kind = Kind.AUDIENCE_JOINED if action == "created" else Kind.AUDIENCE_LEFT
        yield [membership_changed(row, kind) for row in rows]
    elif sender is Audience and action == "updated":
        for row in rows:
            old_name = before.get(row.pk, {}).get("name", row.name)
            if old_name != row.name:
                yield from audience_renamed(row, old_name)

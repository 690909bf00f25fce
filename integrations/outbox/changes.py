"""From loyalty's records to the changes worth capturing. Pure, except `lines_created`, which reads the orders."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from django.db.models import Model

from integrations.outbox.capture import Change
from integrations.outbox.models import Kind, Topic
from masivo_braze.loyalty.json_values import same_json
from masivo_braze.loyalty.models import Audience, Customer, Event, Membership, Order, OrderLine

#: Statuses of a once fulfilled order whose purchases are to be negated.
REVERSED_STATUSES = frozenset({"REVERSED", "CANCELLED"})
#: An order in one of these states may have purchases to send or to negate.
SYNCED_ORDER_STATUSES = REVERSED_STATUSES | {"FULFILLED"}
_UNKNOWN: Mapping[Any, None] = MappingProxyType({})


def customer_created(customer: Customer) -> Change:
    topics = (Topic.CUSTOMER_CREATED, Topic.CUSTOMER_TAGS) if customer.tags else (Topic.CUSTOMER_CREATED,)
    return _of_customer(customer, Kind.CUSTOMER_CREATED, topics, {})


def customer_updated(customer: Customer, tags_before: dict[str, Any] | None) -> Change:
    """`tags_before` is None if unknown; the tags may then have changed."""
    same_tags = tags_before is not None and same_json(tags_before, customer.tags)
    topics = (Topic.CUSTOMER_UPDATED,) if same_tags else (Topic.CUSTOMER_UPDATED, Topic.CUSTOMER_TAGS)
    removed = sorted(set(tags_before or {}) - set(customer.tags or {}))
    return _of_customer(customer, Kind.CUSTOMER_UPDATED, topics, {"removed_tags": removed} if removed else {})


def customer_deleted(customer: Customer) -> Change:
    return _of_customer(customer, Kind.CUSTOMER_DELETED, (Topic.CUSTOMER_DELETED,), {})


def _of_customer(customer: Customer, kind: Kind, topics: tuple[Topic, ...], data: dict[str, Any]) -> Change:
    return Change(customer.account_id, kind, customer.external_id, topics, str(customer.pk or ""), data)


def event_created(event: Event) -> Change:
    return Change(event.account_id, Kind.EVENT, event.customer.external_id, (Topic.EVENTS,), str(event.pk))


def orders_changed(orders: Iterable[Order], before: Mapping[Any, str | None] = _UNKNOWN) -> list[Change]:
    """Changes of the orders that are, or were, fulfilled; the others have nothing to send yet.

    `before` has their statuses from before the change, by primary key, where these are known.
    """
    return [
        _of_order(order, Kind.ORDER, before.get(order.pk)) for order in orders if order.status in SYNCED_ORDER_STATUSES
    ]


def lines_created(lines: Sequence[OrderLine]) -> list[Change]:
    """One change for each line that was added to an order already fulfilled.

    The orders are read again, locked: the instances on the lines may be older than a fulfilment that another
    process commits at this moment, and its relay would then never see these lines.
    """
    orders = Order.objects.select_for_update(of=("self",)).filter(pk__in={line.order_id for line in lines})
    by_pk = {order.pk: order for order in orders.select_related("customer").order_by("pk")}
    return [
        _of_order(by_pk[line.order_id], Kind.ORDER_LINE)
        for line in lines
        if line.order_id in by_pk and by_pk[line.order_id].status in SYNCED_ORDER_STATUSES
    ]


def _of_order(order: Order, kind: Kind, status_before: str | None = None) -> Change:
    """Keeps the status as captured: it tells a fulfilment from the reversal of an order whose sale was never wanted.

    `reopened` is kept, too: nothing else tells later that the order was closed once.
    """
    data: dict[str, Any] = {"order_id": order.order_id, "status": order.status}
    if status_before in REVERSED_STATUSES and order.status not in REVERSED_STATUSES:
        data["reopened"] = True
    return Change(order.account_id, kind, order.customer.external_id, (Topic.ORDERS,), str(order.pk), data)


def membership_changed(membership: Membership, kind: Kind) -> Change:
    return replace(of_audience(membership.audience, kind), customer_external_id=membership.customer.external_id)


def of_audience(audience: Audience, kind: Kind, **data: Any) -> Change:
    """A change that names no customer: it is the same for every customer concerned, of whom there may be a million."""
    data = {"audience_id": audience.audience_id, "name": audience.name, **data}
    return Change(audience.account_id, kind, "", (Topic.AUDIENCES,), str(audience.pk), data)


def of_rows(sender: type[Model], action: str, rows: Sequence[Any], before: dict[Any, dict[str, Any]]) -> list[Change]:
    """The changes behind one `rows_changed` signal of loyalty; renamed audiences are not among them."""
    if sender is Customer and action == "created":
        return [customer_created(row) for row in rows]
    if sender is Customer and action == "updated":
        return [customer_updated(row, before.get(row.pk, {}).get("tags")) for row in rows]
    if sender is Event and action == "created":
        return [event_created(row) for row in rows]
    if sender is Order and action in ("created", "updated"):
        return orders_changed(rows, {pk: values.get("status") for pk, values in before.items()})
    if sender is OrderLine and action == "created":
        return lines_created(rows)
    if sender is Membership and action == "created":
        return [membership_changed(row, Kind.AUDIENCE_JOINED) for row in rows]
    return []

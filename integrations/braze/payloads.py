"""From Masivo's records to Braze's objects. Pure: no database, no network, no clock."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from integrations.braze import money
from integrations.braze.models import BrazePurchase
from masivo_braze.loyalty.models import Customer, Event, Order, OrderLine

AUDIENCE_PREFIX = "masivo_"
TAG_PREFIX = "tag_"

#: Braze's letters for gender [Braze: user attributes object].
GENDERS = {"MALE": "M", "FEMALE": "F", "OTHER": "O"}

#: Property names that Braze refuses, on events and on purchases [Braze: event object, purchase object].
RESERVED_EVENT_PROPERTIES = frozenset({"time", "event_name"})
RESERVED_PURCHASE_PROPERTIES = frozenset({"time", "product_id", "quantity", "event_name", "price", "currency"})


def profile_attributes(customer: Customer) -> dict[str, Any]:
    """The standard and loyalty attributes; None for what the customer does not have.

    An anonymous customer's name, e-mail and phone are placeholders of Masivo's and stay out.
    """
    personal = {
        "email": customer.email,
        "phone": customer.phone,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
    }
    general = {
        "gender": GENDERS.get(customer.gender),
        "dob": customer.birth_date.isoformat() if customer.birth_date else None,
        "country": customer.country,
        "home_city": customer.city,
        "language": customer.language,
        "time_zone": customer.time_zone,
        "loyalty_tier": customer.tier,
        "loyalty_points": scalar(customer.points) if customer.points is not None else None,
    }
    known = {} if customer.is_anonymous else {name: value or None for name, value in personal.items()}
    return {**dict.fromkeys(personal), **known, **{k: None if v == "" else v for k, v in general.items()}}


def tag_attributes(customer: Customer) -> dict[str, Any]:
    return {f"{TAG_PREFIX}{key}": scalar(value) for key, value in (customer.tags or {}).items()}


def audience_attribute(name: str) -> str:
    return f"{AUDIENCE_PREFIX}{name}"


def event(record: Event) -> dict[str, Any]:
    """An object of the `events` array."""
    properties = flattened(record.data or {}, RESERVED_EVENT_PROPERTIES | {"event_id"})
    return {
        "external_id": record.customer.external_id,
        "name": record.type,
        "time": timestamp(record.occurred_at),
        "properties": {**properties, "event_id": str(record.pk)},
    }


def sales(order: Order, line: OrderLine) -> list[BrazePurchase]:
    """The purchase rows of one line of a fulfilled order, one per price and hundred units, not saved."""
    currency, fulfilled_at = order.effective_currency, order.fulfilled_at
    if fulfilled_at is None:
        raise ValueError(f"order {order.order_id} was never fulfilled")
    return [
        BrazePurchase(
            account_id=order.account_id,
            customer_external_id=order.customer.external_id,
            order_id=order.order_id,
            line=line.position,
            part=number,
            purchase_id=f"{order.order_id}:{line.position}:{number}",
            product_id=line.sku,
            price=part.price,
            quantity=part.quantity,
            currency=currency,
            time=fulfilled_at,
            properties=_purchase_properties(order, line),
        )
        for number, part in enumerate(money.parts(line.paid, line.quantity, currency), start=1)
    ]


def reversal(sale: BrazePurchase, closed_at: datetime) -> BrazePurchase:
    """The row that negates `sale`: a further purchase at the negative price [Braze: purchase events]."""
    return BrazePurchase(
        account_id=sale.account_id,
        customer_external_id=sale.customer_external_id,
        order_id=sale.order_id,
        line=sale.line,
        part=sale.part,
        is_reversal=True,
        purchase_id=f"{sale.purchase_id}:R",
        product_id=sale.product_id,
        price=-sale.price,
        quantity=sale.quantity,
        currency=sale.currency,
        time=closed_at,
        properties={**sale.properties, "reversal": True},
    )


def purchase(row: BrazePurchase) -> dict[str, Any]:
    """An object of the `purchases` array."""
    return {
        "external_id": row.customer_external_id,
        "product_id": row.product_id,
        "currency": row.currency,
        "price": number(row.price),
        "quantity": row.quantity,
        "time": timestamp(row.time),
        "properties": {**row.properties, "order_id": row.order_id, "line": row.line, "purchase_id": row.purchase_id},
    }


def flattened(data: dict[str, Any], taken: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """Nested dicts joined by `_`, lists of objects indexed, nulls omitted; no name lost to another's.

    Names in `taken`, and names that collide, get a `_` and a number at their end.
    """
    result: dict[str, Any] = {}
    for path, value in _leaves((), data):
        name = "_".join(path).lstrip("$") or "property"
        candidate, number = name, 1
        while candidate in result or candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        result[candidate] = value
    return result


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, as Braze documents event and purchase times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: Decimal) -> int | float:
    """A JSON number that prints as the decimal does: Braze wants no strings, revenue wants no noise."""
    return int(value) if value == value.to_integral_value() else float(value)


def scalar(value: Any) -> Any:
    """A value of JSON's own types; a number that JSON writers and readers cannot hold exactly, as its digits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return timestamp(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _purchase_properties(order: Order, line: OrderLine) -> dict[str, Any]:
    own = {
        "product_name": line.name,
        "channel": order.channel,
        "store": order.store,
        "payment_method": order.payment_method,
    }
    named = {name: value for name, value in own.items() if value}
    added = {"order_id", "line", "purchase_id", "reversal", *named}
    return {**flattened(line.data or {}, RESERVED_PURCHASE_PROPERTIES | added), **named}


def _leaves(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, inner in enumerate(value):
            yield from _leaves((*path, str(index)), inner)
    elif isinstance(value, list):
        yield path, [scalar(item) for item in value if item is not None]
    elif value is not None:
        yield path, scalar(value)

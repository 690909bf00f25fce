"""The table of records and the objects they become, in docs/mapping.md.

`python -m tests.integrations.braze.mapping.golden` writes it anew; test_docs.py fails where the page is stale.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch
from uuid import UUID

DOCUMENT = Path(__file__).parents[4] / "docs" / "mapping.md"
BEGIN, END = "<!-- golden table: begin -->\n", "<!-- golden table: end -->\n"

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
MOMENT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
EVENT_ID = UUID("3f6c0f0e-5f6e-4a44-9d5e-1f0c5d3c2b1a")

CUSTOMERS: list[dict[str, Any]] = [
    {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "gender": "FEMALE"},
    {"birth_date": date(1985, 12, 10), "city": "Bogotá", "tier": "Gold", "points": Decimal("120.5000")},
    {"email": "ada at example", "first_name": "Ada"},
    {"phone": "300 111 2233", "country": "Colombia"},
    {"phone": "300 111 2233"},
    {"country": "USA", "language": "en-US", "time_zone": "america/new_york"},
    {"country": "Atlantis", "language": "Klingon", "time_zone": "Mars/Olympus"},
    {"birth_date": date(1850, 1, 1), "gender": "OTHER"},
    {"is_anonymous": True, "first_name": "Guest", "email": "guest@example.com", "city": "Cali"},
    {"tags": {"vip": True, "visits": 3, "email": "x"}},
    {"tags": {"since": "12/1/2021", "vip": 1, "vip ": 2}},
]
EVENTS: list[dict[str, Any]] = [
    {"type": "ADD_TO_CART", "data": {"order": {"value": 1}, "coupon": None}},
    {"data": {"items": [{"sku": "A", "qty": 2}, {"sku": "B"}], "colors": ["red", "blue"]}},
    {"data": {"time": "noon", "$price": 5, "a": {"b": 1}, "a_b": 2}},
    {"data": {"serial": 2**64, "": "nameless"}},
    {"type": "ecommerce.order_placed"},
    {"occurred_at": datetime(2026, 3, 9, tzinfo=UTC)},
]
ORDERS: list[dict[str, Any]] = [
    {"lines": [{"sku": "CD", "name": "Disc", "quantity": 2, "value": Decimal("29.33"), "data": {"color": "red"}}]},
    {"lines": [{"sku": "CD", "quantity": 1, "value": Decimal("20.00"), "discounted_value": Decimal("0.00")}]},
    {"lines": [{"sku": "CD", "quantity": 250, "value": Decimal("500.00")}]},
    {"currency": "JPY", "lines": [{"sku": "CD", "quantity": 3, "value": Decimal(1000)}]},
    {"lines": [{"sku": s, "quantity": 1, "value": Decimal("0.005")} for s in ("A", "B")]},
    {"lines": [{"sku": "", "name": "Gift wrap", "quantity": 1, "value": Decimal("2.50")}]},
    {"status": "REVERSED", "lines": [{"sku": "CD", "quantity": 1, "value": Decimal("9.99")}]},
    {"currency": "ZZZ", "lines": [{"sku": "CD", "quantity": 1, "value": Decimal("9.99")}]},
]

Row = tuple[Any, Any, list[str]]


def document() -> str:
    """The page with the table as it should be."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    return before + BEGIN + tables() + END + rest.partition(END)[2]


def tables() -> str:
    return (
        f"\nCustomers (what is null or unchanged is not shown; today is {NOW:%Y-%m-%d})\n\n{_table(customer_rows())}\n"
        f"Events (`event_id`, and the time where nothing is said of it, are not shown)\n\n{_table(event_rows())}\n"
        f"Purchases (the properties `order_id` and `line`, and the time, are not shown)\n\n{_table(order_rows())}\n"
    )


def customer_rows() -> Iterator[Row]:
    for record, body, adjustments in customer_objects():
        yield record, {name: value for name, value in body.items() if value not in (None, 0)}, adjustments


def event_rows() -> Iterator[Row]:
    for record, body, adjustments in event_objects():
        shown = {"name": body["name"]} if "type" in record else {}
        shown |= {"time": body["time"]} if "occurred_at" in record else {}
        properties = {name: value for name, value in body["properties"].items() if name != "event_id"}
        yield record, shown | ({"properties": properties} if properties else {}), adjustments


def order_rows() -> Iterator[Row]:
    for record, bodies, adjustments in order_objects():
        yield record, [_without_the_usual(body) for body in bodies], adjustments


def customer_objects() -> Iterator[Row]:
    from integrations.braze.mapping import customers
    from masivo_braze.loyalty.models import Customer

    for record in CUSTOMERS:
        customer = Customer(external_id="Ada-1", **record)
        mapped = customers.profile(customer, NOW.date())
        mapped |= customers.tags(customer)
        yield record, mapped.values, list(mapped.adjustments.values())


def event_objects() -> Iterator[Row]:
    from integrations.braze.mapping import events
    from masivo_braze.loyalty.models import Customer, Event

    for record in EVENTS:
        known = {"id": EVENT_ID, "type": "LOGIN", "occurred_at": MOMENT, "customer": Customer(external_id="Ada-1")}
        encoded, adjustments = events.event(Event(**known | record), NOW)
        body = json.loads(encoded)
        yield record, body, list(adjustments)


def order_objects() -> Iterator[Row]:
    from integrations.braze.mapping import purchases
    from integrations.braze.models import Fate
    from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine

    for record in ORDERS:
        fields = {name: value for name, value in record.items() if name != "lines"}
        known = {"order_id": "A-7", "status": "FULFILLED", "fulfilled_at": MOMENT, "closed_at": NOW}
        order = Order(account=Account(currency="USD"), customer=Customer(external_id="Ada-1"), **known | fields)
        lines = [OrderLine(position=n, **line) for n, line in enumerate(record["lines"], start=1)]
        with patch.object(Order, "lines", PropertyMock(return_value=type("", (), {"all": lambda self: lines})())):  # noqa: B023
            rows, adjustments = purchases.sales(order, {}, NOW)
        refused = [f"rejected: {row.error}" for row in rows if row.fate == Fate.REJECTED]
        sent = [row for row in rows if row.fate != Fate.REJECTED]
        sent += [purchases.reversal(row, NOW) for row in sent] if order.status == "REVERSED" else []
        yield record, [json.loads(purchases.purchase(row, NOW)[0]) for row in sent], adjustments + refused


def _without_the_usual(body: dict[str, Any]) -> dict[str, Any]:
    properties = {name: value for name, value in body["properties"].items() if name not in ("order_id", "line")}
    return {name: body[name] for name in ("product_id", "currency", "price", "quantity")} | {"properties": properties}


def _table(rows: Iterator[Row]) -> str:
    lines = ["| Masivo | Braze | adjustments |", "|---|---|---|"]
    lines += [f"| {_code(record)} | {_code(body)} | {_cell('; '.join(told))} |" for record, body, told in rows]
    return "\n".join(lines) + "\n"


def _code(value: Any) -> str:
    """One object a line, in the order of its names."""
    items = value if isinstance(value, list) else [value]
    return "<br>".join(f"`{_cell(json.dumps(item, ensure_ascii=False, default=str))}`" for item in items) or "nothing"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")
    django.setup()
    DOCUMENT.write_text(document())

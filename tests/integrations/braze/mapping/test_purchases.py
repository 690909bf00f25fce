"""Purchases in the shape that Braze documents, whose revenue is the order's total to the smallest unit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import PropertyMock, patch

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from integrations.braze.mapping import differences, purchases
from integrations.braze.mapping.values import is_exact, number
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery, Fate
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine

BOGOTA = timezone(timedelta(hours=-5))
MOMENT = datetime(2026, 3, 1, 22, 30, 15, 123456, tzinfo=BOGOTA)
NOW = datetime(2026, 3, 5, tzinfo=UTC)
Sync = Callable[[], None]


class Lines(list[OrderLine]):
    """What `order.lines` is to the mapping: something with `all()`."""

    def all(self) -> "Lines":
        return self


def sold(
    *lines: dict[str, Any], sent: dict[int, Decimal] | None = None, **fields: Any
) -> tuple[list[BrazePurchase], list[str]]:
    """The rows and adjustments of an order with these lines, each two discs for 29.33 unless it says otherwise."""
    buyer = Customer(account=Account(slug="shop", currency="USD"), external_id="Ada-1")
    known = {"order_id": "A-7", "status": "FULFILLED", "fulfilled_at": MOMENT}
    order = Order(account=buyer.account, customer=buyer, **known | fields)
    line = {"sku": "CD-1", "name": "Disc", "quantity": 2, "value": Decimal("29.33")}
    made = Lines(OrderLine(position=n, **line | given) for n, given in enumerate(lines or ({},), start=1))
    with patch.object(Order, "lines", PropertyMock(return_value=made)):
        return purchases.sales(order, sent or {}, NOW)


def body_of(row: BrazePurchase, now: datetime) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(purchases.purchase(row, now)[0])
    return body


def bodies(*lines: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return [body_of(row, NOW) for row in sold(*lines, **fields)[0]]


def revenue(rows: list[BrazePurchase]) -> Decimal:
    return sum((row.price * row.quantity for row in rows), Decimal(0))


def test_it_makes_a_purchase_object_as_documented() -> None:
    made = bodies({"data": {"color": "red"}}, channel="web", store="Bogotá 1", payment_method="card")
    assert made == [
        {
            "external_id": "Ada-1",
            "product_id": "CD-1",
            "currency": "USD",
            "price": price,
            "quantity": 1,
            "time": "2026-03-02T03:30:15.123Z",
            "properties": {
                "order_id": "A-7",
                "line": 1,
                "purchase_id": f"A-7:1:{part}",
                "product_name": "Disc",
                "channel": "web",
                "store": "Bogotá 1",
                "payment_method": "card",
                "color": "red",
            },
        }
        for part, price in ((1, 14.66), (2, 14.67))
    ]


def test_it_sends_the_discounted_value_where_there_is_one_even_if_it_is_nothing() -> None:
    (free,) = bodies({"quantity": 1, "discounted_value": Decimal("0.00")})
    assert free["price"] == 0
    (cheap,) = bodies({"quantity": 1, "discounted_value": Decimal("9.99")})
    assert cheap["price"] == 9.99
    (paid_back,) = bodies({"quantity": 1, "discounted_value": Decimal("-9.99")})
    assert paid_back["price"] == -9.99


def test_it_uses_the_orders_currency_else_the_accounts() -> None:
    assert {body["currency"] for body in bodies(currency="eur")} == {"EUR"}
    assert {body["currency"] for body in bodies(currency="")} == {"USD"}


def test_it_splits_more_than_a_hundred_units_into_purchases_of_their_own_id() -> None:
    rows, _ = sold({"quantity": 250, "value": Decimal("250.00")})
    assert [(row.purchase_id, row.quantity) for row in rows] == [("A-7:1:1", 100), ("A-7:1:2", 100), ("A-7:1:3", 50)]


def test_it_makes_no_rows_for_lines_that_have_them() -> None:
    rows, _ = sold({}, {}, {}, sent={1: Decimal("29.33"), 3: Decimal("29.33")})
    assert {row.line for row in rows} == {2}


@pytest.mark.parametrize(
    "name",
    ["time", "product_id", "quantity", "event_name", "price", "currency", "order_id", "line", "purchase_id",
     "reversal", "original_time", "product_name", "channel", "store", "payment_method"],
)  # fmt: skip
def test_it_gives_reserved_purchase_properties_another_name(name: str) -> None:
    rows, adjustments = sold({"data": {name: "mine"}, "quantity": 1})
    properties = body_of(rows[0], NOW)["properties"]
    assert properties[f"{name}_2"] == "mine"
    assert properties.get(name) != "mine"
    assert adjustments == [f"“{name}” is sent as “{name}_2”"]


def test_it_refuses_to_make_purchases_of_an_order_that_was_never_fulfilled() -> None:
    with pytest.raises(ValueError, match="never fulfilled"):
        sold(fulfilled_at=None)


def test_a_line_without_a_sku_goes_under_its_products_name() -> None:
    rows, adjustments = sold({"sku": " "}, {"sku": "", "name": ""})
    assert {row.product_id for row in rows} == {"Disc", "(no SKU)"}
    assert len(adjustments) == 2


def test_a_currency_that_braze_does_not_know_is_rejected_here_with_the_reason() -> None:
    for currency in ("XXX", "XAU", "ZZZ", "CLF"):
        rows, _ = sold(currency=currency)
        assert {row.fate for row in rows} == {Fate.REJECTED}
        assert all(currency in row.error and row.settled_at == NOW for row in rows)


def test_a_price_beyond_the_digits_of_a_json_number_is_rejected_here() -> None:
    rows, _ = sold({"quantity": 1, "value": Decimal("123456789012345.678")}, {}, currency="KWD")
    assert [(row.line, row.fate) for row in rows] == [(1, Fate.REJECTED), (2, Fate.PENDING)]


@pytest.mark.parametrize(
    ("paid", "currency", "sent"),
    [
        (["10.005", "10.005"], "USD", ["10.01", "10.00"]),
        (["0.333", "0.333", "0.334"], "USD", ["0.33", "0.34", "0.33"]),
        (["99.50", "99.50", "1"], "JPY", ["100", "99", "1"]),
        (["0.004", "5.00"], "EUR", ["0.00", "5.00"]),
        (["1.234", "1.001"], "KWD", ["1.234", "1.001"]),
        (["-0.005", "-0.005"], "USD", ["-0.01", "0.00"]),
    ],
)
def test_lines_finer_than_the_currency_add_up_to_the_orders_total(
    paid: list[str], currency: str, sent: list[str]
) -> None:
    rows, adjustments = sold(*({"value": Decimal(value)} for value in paid), currency=currency)
    by_line = [revenue([row for row in rows if row.line == n]) for n in range(1, len(paid) + 1)]
    assert by_line == [Decimal(value) for value in sent]
    assert len(adjustments) == sum(Decimal(a) != Decimal(b) for a, b in zip(paid, sent, strict=True))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.decimals(-10, 10**6, places=3), st.integers(1, 300)), min_size=1, max_size=8),
    st.sampled_from(["USD", "JPY", "KWD"]),
    st.data(),
)
def test_revenue_in_is_revenue_out(lines: list[tuple[Decimal, int]], currency: str, data: st.DataObject) -> None:
    """Of the order at once, and of its lines in any two instalments; and nothing remains of it once it is reversed."""
    given_lines = [{"discounted_value": paid, "quantity": quantity} for paid, quantity in lines]
    total = sum((paid for paid, _ in lines), Decimal(0))
    unit = {"USD": Decimal("0.01"), "JPY": Decimal(1), "KWD": Decimal("0.001")}[currency]
    rows, _ = sold(*given_lines, currency=currency)
    assert abs(revenue(rows) - total) <= unit / 2
    assert {row.line: sum(r.quantity for r in rows if r.line == row.line) for row in rows} == {
        n: quantity for n, (_, quantity) in enumerate(lines, start=1)
    }
    sent = [Decimal(repr(body_of(row, NOW)["price"])) * row.quantity for row in rows]
    back = [Decimal(repr(body_of(purchases.reversal(row, NOW), NOW)["price"])) * row.quantity for row in rows]
    assert sum(sent) == revenue(rows)
    assert sum(sent) + sum(back) == 0
    early = data.draw(st.integers(0, len(lines)))
    first = sold(*given_lines[:early], currency=currency)[0] if early else []
    rest, _ = sold(*given_lines, currency=currency, sent=purchases.sent_of(first))
    assert revenue(first) + revenue(rest) == revenue(rows)


@given(st.integers(1, 10**15 - 1), st.sampled_from(["USD", "JPY", "KWD"]))
def test_it_writes_a_price_with_exactly_its_own_digits(units: int, currency: str) -> None:
    price = Decimal(units).scaleb({"USD": -2, "JPY": 0, "KWD": -3}[currency])
    assert Decimal(orjson.dumps(number(price)).decode()) == price
    assert is_exact(price)


@given(
    st.decimals(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**18), 10**18).map(lambda n: Decimal(n).scaleb(-3))
)
@example(Decimal("1E-400"))
def test_a_price_is_exact_where_its_json_number_reads_back_as_the_same(price: Decimal) -> None:
    if abs(price) < Decimal("1E+300"):
        assert is_exact(price) is (Decimal(repr(number(price))) == price)


def test_it_negates_a_purchase_exactly_and_leaves_the_sale_as_it_is() -> None:
    closed_at = datetime(2026, 3, 4, tzinfo=UTC)
    for sale in sold({"data": {"color": "red"}})[0]:
        before = body_of(sale, NOW)
        reversed_ = body_of(purchases.reversal(sale, closed_at), NOW)
        assert body_of(sale, NOW) == before
        assert reversed_["price"] == -before["price"]
        assert reversed_["time"] == "2026-03-04T00:00:00.000Z"
        purchase_id = before["properties"]["purchase_id"]
        assert reversed_["properties"] == before["properties"] | {"purchase_id": f"{purchase_id}:R", "reversal": True}
        unchanged = ("external_id", "product_id", "currency", "quantity")
        assert [reversed_[name] for name in unchanged] == [before[name] for name in unchanged]


def test_an_order_fulfilled_in_the_future_gets_the_current_time_and_keeps_its_own() -> None:
    rows, _ = sold(fulfilled_at=NOW + timedelta(days=1))
    encoded, adjustments = purchases.purchase(rows[0], NOW)
    body = orjson.loads(encoded)
    assert body["time"] == "2026-03-05T00:00:00.000Z"
    assert body["properties"]["original_time"] == "2026-03-06T00:00:00.000Z"
    assert len(adjustments) == 1
    assert "original_time" not in body_of(rows[0], NOW + timedelta(days=2))["properties"]


def test_properties_stay_within_50_kb_and_256_even_when_reversed() -> None:
    own = {"order_id": "é" * 255, "channel": "é" * 100, "store": "é" * 200, "payment_method": "é" * 100}
    data = {f"p{n:03}": "é" * 255 for n in range(300)}
    rows, adjustments = sold({"data": data, "name": "é" * 255}, fulfilled_at=NOW + timedelta(1), **own)
    for row in (rows[0], purchases.reversal(rows[0], NOW + timedelta(1))):
        properties = body_of(row, NOW)["properties"]
        assert len(orjson.dumps(properties)) <= 51_200
        assert len(properties) <= 256
        assert properties["channel"] == own["channel"]
        assert all(len(value) <= 255 for value in properties.values() if isinstance(value, str))
    assert len(adjustments) == 2


def test_purchase_ids_of_long_order_ids_are_short_and_different() -> None:
    ids = {purchases.reversal(row, NOW).purchase_id for end in ("a", "b") for row in sold(order_id="x" * 254 + end)[0]}
    assert len(ids) == 4
    assert max(map(len, ids)) <= 255
    assert {row.purchase_id for row in sold(order_id="x" * 200)[0]} == {f"{'x' * 200}:1:1", f"{'x' * 200}:1:2"}


# --- on the way -----------------------------------------------------------------------------------------


@pytest.fixture
def order(account: Account, braze: BrazeSettings) -> Order:
    ada = Customer.objects.create(account=account, external_id="Ada-1")
    made = Order.objects.create(account=account, customer=ada, order_id="A-7", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=2, value=Decimal("29.33"))
    OrderLine.objects.create(order=made, sku="", name="Wrap", quantity=1, value=Decimal("0.005"), data={"time": 1})
    return made


def rows_of(order: Order) -> list[BrazePurchase]:
    return list(BrazePurchase.objects.filter(order_id=order.order_id).order_by("pk"))


def test_adjustments_of_all_lines_are_kept_on_the_orders_entries(
    order: Order, sync: Sync, sandbox: SandboxServer
) -> None:
    sync()
    for entry in OutboxEntry.objects.filter(kind__in=("order", "order_line")):
        assert entry.status == "delivered"
        assert [part for part in ("0.005 USD", "no SKU", "“time”") if part not in " ".join(entry.adjustments)] == []
    assert (sandbox.summary()["rejected"], sandbox.summary()["dropped"]) == (0, {})
    assert sandbox.summary()["revenue"] == {"USD": "29.34"}


def test_an_order_in_an_unknown_currency_is_rejected_and_stops_nothing_else(
    order: Order, sync: Sync, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    Order.objects.filter(pk=order.pk).update(currency="ZZZ")
    other = Order.objects.create(account=order.account, customer=order.customer, order_id="A-8", status="FULFILLED")
    OrderLine.objects.create(order=other, sku="CD", quantity=1, value=1)
    sync()
    rejected = OutboxEntry.objects.filter(status="rejected")
    assert {entry.data["order_id"] for entry in rejected} == {"A-7"}
    assert all("ZZZ" in entry.error for entry in rejected)
    assert {(row.fate, row.error[:5]) for row in rows_of(order)} == {("rejected", "“ZZZ”")}
    assert {row.fate for row in rows_of(other)} == {"delivered"}
    assert sandbox.summary()["rejected"] == 0
    assert any("sync failed" in record.getMessage() and "ZZZ" in record.getMessage() for record in caplog.records)
    order.status = "REVERSED"
    order.save()
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "1.00"}
    assert OutboxEntry.objects.latest("pk").error.startswith("nothing to reverse")


def test_an_entry_shows_the_worst_of_its_rows(order: Order, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    order.lines.filter(sku="CD").update(quantity=1)
    monkeypatch.setattr(purchases, "is_exact", lambda price: price < 1)  # SQLite cannot hold so many digits itself
    sync()
    assert [row.fate for row in rows_of(order)] == ["rejected", "delivered"]
    entries = OutboxEntry.objects.filter(kind__in=("order", "order_line"))
    assert {(entry.status, "digits" in entry.error) for entry in entries} == {("rejected", True)}
    assert Delivery.objects.get().purchases == 1


def test_an_edit_after_sending_shows_as_a_difference_and_sends_nothing(
    order: Order, sync: Sync, sandbox: SandboxServer
) -> None:
    sync()
    assert differences.differences(order, rows_of(order)) == []
    order.lines.filter(sku="CD").update(value=Decimal("99.00"), quantity=3)
    order.lines.filter(sku="").delete()
    order.save()
    sync()
    assert differences.differences(Order.objects.get(pk=order.pk), rows_of(order)) == [
        "line 1: sent 2 × CD for 29.33 USD, now 3 × CD for 99.00 USD",
        "line 2: sent 1 × Wrap for 0.01 USD, now no longer there",
    ]
    assert sandbox.summary()["revenue"] == {"USD": "29.34"}

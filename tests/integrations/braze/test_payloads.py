"""Braze's objects in the shapes that Braze documents, and taken by the sandbox without a word."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze import payloads
from integrations.braze.models import BrazePurchase
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

#: ISO 8601, in UTC, as in Braze's own examples.
ISO_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
BOGOTA = timezone(timedelta(hours=-5))
EVENT_ID = UUID("3f6c0f0e-5f6e-4a44-9d5e-1f0c5d3c2b1a")
LARGE = 2**64

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NAMES = st.text(max_size=5) | st.sampled_from(["time", "event_name", "event_id", "price", "$a", "a", "b", "a_b", "a_2"])
NESTED = st.dictionaries(
    NAMES,
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)),
    max_size=5,
)


def customer(**fields: Any) -> Customer:
    return Customer(account=Account(slug="shop", currency="USD"), external_id="Ada-1", **fields)


def event(data: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    record = Event(
        id=EVENT_ID, customer=customer(), type="ADD_TO_CART", data=data or {}, **{"occurred_at": moment(), **fields}
    )
    return payloads.event(record)


def moment() -> datetime:
    return datetime(2026, 3, 1, 22, 30, 15, 123456, tzinfo=BOGOTA)


def order(**fields: Any) -> Order:
    buyer = customer()
    known = {"order_id": "A-7", "status": "FULFILLED", "fulfilled_at": moment()}
    return Order(account=buyer.account, customer=buyer, **known | fields)


def sales(line: dict[str, Any] | None = None, **fields: Any) -> list[BrazePurchase]:
    bought = order(**fields)
    known = {"position": 3, "sku": "CD-1", "name": "Disc", "quantity": 2, "value": Decimal("29.33")}
    return payloads.sales(bought, OrderLine(order=bought, **known | (line or {})))


def scalars(value: Any) -> list[Any]:
    """All values of a nested structure but its nulls."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return [] if value is None else [value]
    return [scalar for item in inner for scalar in scalars(item)]


# --- attributes -----------------------------------------------------------------------------------------


def test_it_maps_a_profile_to_brazes_standard_fields() -> None:
    full = customer(
        email="ada@example.com", phone="+573001112233", first_name="Ada", last_name="Lovelace", gender="FEMALE",
        birth_date=date(1985, 12, 10), country="CO", city="Bogotá", language="es", time_zone="America/Bogota",
        tier="Gold", points=Decimal("120.5000"),
    )  # fmt: skip
    assert payloads.profile_attributes(full) == {
        "email": "ada@example.com",
        "phone": "+573001112233",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "gender": "F",
        "dob": "1985-12-10",
        "country": "CO",
        "home_city": "Bogotá",
        "language": "es",
        "time_zone": "America/Bogota",
        "loyalty_tier": "Gold",
        "loyalty_points": 120.5,
    }


@pytest.mark.parametrize(("masivo", "braze"), [("MALE", "M"), ("FEMALE", "F"), ("OTHER", "O"), ("", None)])
def test_it_says_gender_in_brazes_letters(masivo: str, braze: str | None) -> None:
    assert payloads.profile_attributes(customer(gender=masivo))["gender"] == braze


def test_it_has_null_and_no_empty_text_for_what_a_customer_lacks() -> None:
    attributes = payloads.profile_attributes(customer())
    assert attributes.pop("loyalty_points") == 0
    assert set(attributes.values()) == {None}


def test_it_tells_nothing_personal_of_an_anonymous_customer() -> None:
    known = {"email": "a@example.com", "phone": "1", "first_name": "Guest", "last_name": "7"}
    attributes = payloads.profile_attributes(customer(is_anonymous=True, city="Cali", **known))
    assert {attributes[name] for name in known} == {None}
    assert attributes["home_city"] == "Cali"


def test_it_sends_points_as_a_number() -> None:
    whole = payloads.profile_attributes(customer(points=Decimal("7.0000")))["loyalty_points"]
    assert (whole, type(whole)) == (7, int)
    assert payloads.profile_attributes(customer(points=Decimal("0.0001")))["loyalty_points"] == 0.0001


def test_it_prefixes_tags_and_keeps_their_types() -> None:
    tags = {"vip": True, "visits": 3, "Nick Name": "", "ratio": 0.5}
    attributes = payloads.tag_attributes(customer(tags=tags))
    assert attributes == {"tag_vip": True, "tag_visits": 3, "tag_Nick Name": "", "tag_ratio": 0.5}
    assert type(attributes["tag_vip"]) is bool


def test_it_names_an_audience_as_it_is_called() -> None:
    assert payloads.audience_attribute("Big Spenders") == "masivo_Big Spenders"


# --- events ---------------------------------------------------------------------------------------------


def test_it_makes_an_event_object_as_documented() -> None:
    assert event({"order": {"value": 1, "items": ["a", "b"]}, "note": None}) == {
        "external_id": "Ada-1",
        "name": "ADD_TO_CART",
        "time": "2026-03-02T03:30:15.123Z",
        "properties": {"order_value": 1, "order_items": ["a", "b"], "event_id": str(EVENT_ID)},
    }


def test_it_sends_an_event_id_even_without_data() -> None:
    assert event()["properties"] == {"event_id": str(EVENT_ID)}


@pytest.mark.parametrize("name", ["time", "event_name", "event_id"])
def test_it_gives_reserved_event_properties_another_name(name: str) -> None:
    properties = event({name: "mine"})["properties"]
    assert properties == {f"{name}_2": "mine", "event_id": str(EVENT_ID)}


@given(NESTED)
def test_it_keeps_every_scalar_of_an_events_data(data: dict[str, Any]) -> None:
    properties = event(data)["properties"]
    del properties["event_id"]
    kept = scalars(properties)
    sent = [str(v) if isinstance(v, int) and not -(2**63) <= v < 2**64 else v for v in scalars(data)]
    assert sorted(map(repr, kept)) == sorted(map(repr, sent))


@given(NESTED)
def test_it_only_has_property_names_and_values_that_braze_takes(data: dict[str, Any]) -> None:
    properties = event(data)["properties"]
    assert not {"time", "event_name"} & set(properties)
    assert all(name and not name.startswith("$") for name in properties)
    assert None not in properties.values()
    assert not any(isinstance(value, dict) for value in properties.values())


def test_it_flattens_nested_objects_and_numbers_lists_of_them() -> None:
    data = {"cart": {"items": [{"sku": "A", "qty": 2}, {"sku": "B"}], "tags": ["x", None, 1]}}
    assert payloads.flattened(data) == {
        "cart_items_0_sku": "A",
        "cart_items_0_qty": 2,
        "cart_items_1_sku": "B",
        "cart_tags": ["x", 1],
    }


def test_it_loses_no_value_to_another_of_the_same_flat_name() -> None:
    data = {"a": {"b": 1}, "a_b": 2, "a_b_2": 3, "$x": 4, "x": 5, "": 6}
    assert sorted(payloads.flattened(data).values()) == [1, 2, 3, 4, 5, 6]


def test_it_omits_nulls_and_keeps_what_is_merely_empty() -> None:
    assert payloads.flattened({"none": None, "no": False, "zero": 0, "text": ""}) == {
        "no": False,
        "zero": 0,
        "text": "",
    }


def test_it_writes_values_that_json_lacks_as_documented() -> None:
    values = [Decimal("1.50"), Decimal("2.00"), date(2026, 3, 1), moment(), EVENT_ID]
    written = [payloads.scalar(value) for value in values]
    assert written == [1.5, 2, "2026-03-01", "2026-03-02T03:30:15.123Z", str(EVENT_ID)]
    assert type(written[1]) is int


@pytest.mark.parametrize("number", [LARGE, -LARGE, 10**40])
def test_it_sends_integers_too_large_for_a_json_number_as_their_digits(number: int) -> None:
    properties = event({"serial": number, "list": [number]})["properties"]
    assert (properties["serial"], properties["list"]) == (str(number), [str(number)])
    assert orjson.dumps(payloads.tag_attributes(customer(tags={"n": number})))


# --- purchases ------------------------------------------------------------------------------------------


def test_it_makes_a_purchase_object_as_documented() -> None:
    rows = sales(channel="web", store="Bogotá 1", payment_method="card", line={"data": {"color": "red"}})
    assert [payloads.purchase(row) for row in rows] == [
        {
            "external_id": "Ada-1",
            "product_id": "CD-1",
            "currency": "USD",
            "price": price,
            "quantity": 1,
            "time": "2026-03-02T03:30:15.123Z",
            "properties": {
                "order_id": "A-7",
                "line": 3,
                "purchase_id": f"A-7:3:{part}",
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
    (free,) = sales({"quantity": 1, "discounted_value": Decimal("0.00")})
    assert payloads.purchase(free)["price"] == 0
    (cheap,) = sales({"quantity": 1, "discounted_value": Decimal("9.99")})
    assert payloads.purchase(cheap)["price"] == 9.99


def test_it_uses_the_orders_currency_else_the_accounts() -> None:
    assert {row.currency for row in sales(currency="JPY")} == {"JPY"}
    assert {row.currency for row in sales(currency="")} == {"USD"}


def test_it_splits_more_than_a_hundred_units_into_purchases_of_their_own_id() -> None:
    rows = sales({"quantity": 250, "value": Decimal("250.00")})
    assert [(row.purchase_id, row.quantity) for row in rows] == [("A-7:3:1", 100), ("A-7:3:2", 100), ("A-7:3:3", 50)]


@pytest.mark.parametrize(
    "name",
    ["time", "product_id", "quantity", "event_name", "price", "currency", "order_id", "line", "purchase_id",
     "reversal", "product_name"],
)  # fmt: skip
def test_it_gives_reserved_purchase_properties_another_name(name: str) -> None:
    properties = payloads.purchase(sales({"data": {name: "mine"}, "quantity": 1})[0])["properties"]
    assert properties[f"{name}_2"] == "mine"
    assert properties.get(name) != "mine"


def test_it_refuses_to_make_purchases_of_an_order_that_was_never_fulfilled() -> None:
    with pytest.raises(ValueError, match="never fulfilled"):
        sales(fulfilled_at=None)


def test_it_negates_a_purchase_exactly() -> None:
    closed_at = datetime(2026, 3, 5, tzinfo=UTC)
    for sale in sales({"data": {"color": "red"}}):
        sold, reversed_ = payloads.purchase(sale), payloads.purchase(payloads.reversal(sale, closed_at))
        assert reversed_["price"] == -sold["price"]
        assert reversed_["time"] == "2026-03-05T00:00:00.000Z"
        purchase_id = sold["properties"]["purchase_id"]
        assert reversed_["properties"] == sold["properties"] | {"purchase_id": f"{purchase_id}:R", "reversal": True}
        unchanged = ("external_id", "product_id", "currency", "quantity")
        assert [reversed_[name] for name in unchanged] == [sold[name] for name in unchanged]


def test_it_leaves_the_sale_as_it_is_when_it_makes_its_reversal() -> None:
    (sale,) = sales({"quantity": 1})
    payloads.reversal(sale, moment())
    assert "reversal" not in sale.properties and sale.price > 0


@given(st.integers(1, 10**12), st.sampled_from(["USD", "JPY", "KWD"]))
def test_it_writes_a_price_with_exactly_its_own_digits(units: int, currency: str) -> None:
    price = Decimal(units).scaleb({"USD": -2, "JPY": 0, "KWD": -3}[currency])
    assert Decimal(orjson.dumps(payloads.number(price)).decode()) == price


# --- all of it, before a strict reader ------------------------------------------------------------------


def awkward_objects() -> dict[str, list[dict[str, Any]]]:
    full = customer(email="ada@example.com", gender="OTHER", birth_date=date(1985, 12, 10), tags={"a b": LARGE})
    data = {"time": 1, "event_name": "x", "$a": {"": [{"b": None}, 3]}, "event_id": 7, "n": LARGE, "e": {}}
    rows = sales({"data": data | dict.fromkeys(payloads.RESERVED_PURCHASE_PROPERTIES, 1), "quantity": 250})
    rows += [payloads.reversal(row, moment()) for row in rows]
    return {
        "attributes": [
            {"external_id": "Ada-1", **payloads.profile_attributes(full), **payloads.tag_attributes(full)},
            {"external_id": "Bob", **payloads.profile_attributes(customer()), "masivo_Club": None},
        ],
        "events": [event(data), event()],
        "purchases": [payloads.purchase(row) for row in rows],
    }


def test_the_sandbox_takes_every_object_and_drops_no_part_of_any(sandbox: SandboxServer) -> None:
    body = awkward_objects()
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{sandbox.url}/users/track",
            data=orjson.dumps(body),
            headers={"Authorization": "Bearer k", "Content-Type": "application/json"},
            timeout=10,
        )
    counts = {f"{name}_processed": len(items) for name, items in body.items()}
    assert (answer.status_code, answer.json()) == (201, {**counts, "message": "success"})
    assert all(ISO_UTC.fullmatch(item["time"]) for name in ("events", "purchases") for item in body[name])
    summary = sandbox.summary()
    assert (summary["rejected"], summary["dropped"], summary["purchases"]) == (0, {}, len(body["purchases"]))
    assert {Decimal(total) for total in summary["revenue"].values()} == {Decimal(0)}

"""Whatever the records are: Braze takes every object whole, and in the end holds what the customer is."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from unittest.mock import PropertyMock, patch

import orjson
import pytest
import requests
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from integrations.braze.mapping import customers, events, properties, purchases
from integrations.braze.mapping.values import Mapped, timestamp
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

NOW = datetime.now(UTC)
#: A busy machine is no finding.
patiently = settings(deadline=None)
ACCOUNT = Account(slug="shop", currency="USD")

TEXT = (
    st.text()
    | st.text(st.characters(), min_size=250, max_size=300)
    | st.sampled_from(["2021-12-01", "12/1/2021", "1-2-2021", "2021-12-01T10:00:00Z", "\x00", "\ud800", "", " ", "$"])
)
NUMBERS = st.integers() | st.floats() | st.integers(-(2**70), 2**70)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
NAMES = st.text(max_size=4) | st.sampled_from(["time", "event_name", "event_id", "price", "$a", "a", "b", "a_b", "a_2"])
DATA = st.dictionaries(
    NAMES | st.text(min_size=250, max_size=300),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)),
    max_size=6,
)
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC))
CUSTOMERS = st.builds(
    Customer,
    external_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=240),
    email=TEXT | st.emails(),
    phone=TEXT | st.from_regex(r"\+?[0-9 ()-]{5,17}", fullmatch=True),
    first_name=TEXT,
    last_name=TEXT,
    gender=st.sampled_from(["MALE", "FEMALE", "OTHER", "", "?"]),
    birth_date=st.none() | st.dates(),
    country=TEXT | st.sampled_from(["CO", "Colombia", "usa", "GBR", "xx"]),
    city=TEXT,
    language=TEXT | st.sampled_from(["en-US", "Spanish", "zz", "DEU"]),
    time_zone=TEXT | st.sampled_from(["America/Bogota", "utc", "Mars/Olympus"]),
    is_anonymous=st.booleans(),
    tier=TEXT,
    points=st.decimals(-(10**13), 10**13, places=4),
    tags=st.dictionaries(TEXT, st.booleans() | NUMBERS | TEXT, max_size=6),
)
LINES = st.builds(
    OrderLine,
    sku=TEXT.map(lambda text: text[:255]),
    name=TEXT.map(lambda text: text[:255]),
    quantity=st.integers(1, 250),
    value=st.decimals(0, 10**9, places=3),
    discounted_value=st.none() | st.decimals(-100, 10**9, places=3),
    data=DATA,
)


@pytest.fixture(scope="module")
def braze_at_large() -> Iterator[SandboxServer]:
    """One for all examples: they are many, and its counts only grow."""
    with SandboxServer() as server:
        yield server


def body_of(mapped: Mapped) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(mapped[0])
    return body


def accept_whole(sandbox: SandboxServer, **arrays: list[dict[str, Any]]) -> None:
    """Fails where Braze would refuse an object or drop a part of one without a word."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
        url = f"{sandbox.url}/users/track"
        for start in range(0, max(map(len, arrays.values())), 75):
            body = {name: part for name, items in arrays.items() if (part := items[start : start + 75])}
            answer = session.post(url, data=orjson.dumps(body), headers=headers, timeout=10)
            assert (answer.status_code, answer.json().get("errors")) == (201, None)
    assert (sandbox.summary()["rejected"], sandbox.summary()["dropped"]) == (0, {})


@patiently
@given(CUSTOMERS)
def test_braze_takes_every_customer_whole(braze_at_large: SandboxServer, customer: Customer) -> None:
    mapped = customers.profile(customer, NOW.date())
    mapped |= customers.tags(customer)
    accept_whole(braze_at_large, attributes=[{"external_id": customer.external_id, **mapped.values}])
    assert mapped.left_out <= mapped.adjustments.keys()
    assert not mapped.left_out & mapped.values.keys()


@patiently
@given(DATA, TEXT.filter(bool), MOMENTS)
def test_braze_takes_every_event_whole(
    braze_at_large: SandboxServer, data: dict[str, Any], name: str, moment: datetime
) -> None:
    record = Event(customer=Customer(external_id="Ada"), type=name, occurred_at=moment, data=data)
    accept_whole(braze_at_large, events=[body_of(events.event(record, NOW))])


@patiently
@given(st.lists(LINES, min_size=1, max_size=4), MOMENTS, st.sampled_from(["USD", "JPY", "KWD", ""]), TEXT)
def test_braze_takes_every_purchase_whole_and_its_reversal(
    braze_at_large: SandboxServer, lines: list[OrderLine], moment: datetime, currency: str, text: str
) -> None:
    for position, line in enumerate(lines, start=1):
        line.position = position
    order = Order(
        account=ACCOUNT, customer=Customer(external_id="Ada"), order_id=f"o{text}", currency=currency,
        fulfilled_at=moment, channel=text, store=text, payment_method=text,
    )  # fmt: skip
    with patch.object(Order, "lines", PropertyMock(return_value=type("", (), {"all": lambda self: lines})())):
        rows, _ = purchases.sales(order, {}, NOW)
    before = Decimal(braze_at_large.summary()["revenue"].get(currency or "USD", "0"))
    accept_whole(braze_at_large, purchases=[body_of(purchases.purchase(row, NOW)) for row in rows])
    unit = {"JPY": Decimal(1), "KWD": Decimal("0.001")}.get(currency, Decimal("0.01"))
    after = Decimal(braze_at_large.summary()["revenue"][currency or "USD"])
    assert abs(after - before - sum(line.paid for line in lines)) <= unit / 2
    back = [purchases.reversal(row, moment + timedelta(hours=1)) for row in rows]
    accept_whole(braze_at_large, purchases=[body_of(purchases.purchase(row, NOW)) for row in back])
    assert Decimal(braze_at_large.summary()["revenue"][currency or "USD"]) == before


# --- flattening -----------------------------------------------------------------------------------------


def scalars(value: Any) -> list[Any]:
    """All values of a nested structure but its nulls."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return [] if value is None else [value]
    return [scalar for item in inner for scalar in scalars(item)]


def as_sent(value: Any) -> Any:
    """What is to become of a scalar: 255 characters that UTF-8 has, a number of 64 bits or its digits."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()[:255]
    is_large = type(value) is int and not -(2**63) <= value < 2**63
    return str(value) if is_large else value


def is_number(value: Any) -> bool:
    return not isinstance(value, float) or value - value == 0


@patiently
@given(DATA)
def test_flattening_loses_no_scalar_and_changes_none_without_a_word(data: dict[str, Any]) -> None:
    record = Event(customer=Customer(external_id="Ada"), type="E", occurred_at=NOW, data=data)
    encoded, adjustments = events.event(record, NOW)
    body = orjson.loads(encoded)
    del body["properties"]["event_id"]
    sent, given_values = scalars(body["properties"]), scalars(data)
    assert sorted(map(repr, sent)) == sorted(repr(as_sent(value)) for value in given_values if is_number(value))
    if sorted(map(repr, sent)) != sorted(map(repr, given_values)):
        assert adjustments


@patiently
@given(DATA)
def test_the_order_of_the_data_decides_no_name(data: dict[str, Any]) -> None:
    def flat(given_data: dict[str, Any]) -> dict[str, Any]:
        record = Event(customer=Customer(external_id="Ada"), type="E", occurred_at=NOW, data=given_data)
        properties = body_of(events.event(record, NOW))["properties"]
        return {name: repr(value) for name, value in properties.items() if name != "event_id"}

    assert flat(data) == flat(dict(reversed(data.items())))


PLAIN_NAMES = st.sampled_from(["a", "b", "a_b", "a_0", "0", "$a", "", "time", "event_id"])
NEARLY_PLAIN = st.dictionaries(
    PLAIN_NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=3) | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_NAMES, inner, max_size=3),
    ),
    max_size=4,
)


@settings(patiently, max_examples=500)
@given(DATA | NEARLY_PLAIN, st.sampled_from([frozenset[str](), frozenset({"time", "event_id", "a_b"})]))
def test_the_short_way_comes_to_what_the_closer_look_does(data: dict[str, Any], taken: frozenset[str]) -> None:
    adjustments: list[str] = []
    flat = properties.flattened(data, properties.Names(taken), adjustments, 10_000)
    closely: list[str] = []
    assert repr(flat) == repr(properties.flattened_closely(data, taken, closely))
    assert adjustments == closely


@given(st.datetimes(timezones=st.just(UTC) | st.timezones(), allow_imaginary=False))
def test_times_are_written_as_isoformat_does_it(moment: datetime) -> None:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        reject()
    assert timestamp(moment) == utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the profile in the end -----------------------------------------------------------------------------

BAD = object()
#: What a customer may say, and what Braze should hold then; BAD: what it held before.
EDITS: dict[str, list[tuple[Any, Any]]] = {
    "first_name": [("Ada", "Ada"), ("", None), ("x" * 140, "x" * 140)],
    "gender": [("MALE", "M"), ("OTHER", "O"), ("", None)],
    "birth_date": [(date(1985, 12, 10), "1985-12-10"), (None, None), (date(1850, 1, 1), BAD)],
    "country": [("Colombia", "CO"), ("CO", "CO"), ("usa", "US"), ("", None), ("Atlantis", BAD)],
    "language": [("en-US", "en"), ("Spanish", "es"), ("", None), ("Klingon", BAD)],
    "time_zone": [("America/Bogota", "America/Bogota"), ("", None), ("Mars/Olympus", BAD)],
    "phone": [("+573001112233", "+573001112233"), ("+57 300 111 2234", "+573001112234"), ("", None), ("?", BAD)],
    "tier": [("Gold", "Gold"), ("0", "0"), ("", None)],
    "points": [(Decimal("1.5"), 1.5), (Decimal(0), 0), (Decimal("7.0000"), 7)],
}
ATTRIBUTES = {"birth_date": "dob", "tier": "loyalty_tier", "points": "loyalty_points"}
TAG_VALUES = [True, False, 0, 1, "", "0", 1.5, "true"]
STEPS = st.one_of(
    *(st.tuples(st.just(name), st.sampled_from(pairs)) for name, pairs in EDITS.items()),
    st.tuples(st.just("tag"), st.tuples(st.sampled_from("abc"), st.sampled_from(TAG_VALUES))),
    st.tuples(st.just("untag"), st.sampled_from("abc")),
    st.tuples(st.sampled_from(["join", "leave"]), st.sampled_from(["Club", "Circle"])),
    st.tuples(st.just("sync"), st.none()),
)
NUMBER = count()


def typed(attributes: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    return {name: (type(value), value) for name, value in attributes.items()}


class Expectation:
    """What Braze should hold of a customer, kept without the product's mapping."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {"loyalty_points": 0}
        self.tags: dict[str, Any] = {}
        self.held: dict[str, Any] = {}

    def synced(self, audiences: list[str]) -> None:
        for name, value in self.said.items():
            if value is not BAD:
                self.held[name] = value
        others = {name: value for name, value in self.held.items() if not name.startswith(("tag_", "masivo_"))}
        self.held = others | {f"tag_{k}": v for k, v in self.tags.items()} | {f"masivo_{a}": True for a in audiences}

    def profile(self) -> dict[str, Any]:
        return {name: value for name, value in self.held.items() if value is not None}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=25))
def test_after_any_edits_braze_holds_what_the_customer_is(
    account: Account, braze: Any, sync: Callable[[], None], sandbox: SandboxServer, steps: list[tuple[str, Any]]
) -> None:
    one = Customer.objects.create(account=account, external_id=f"c{next(NUMBER)}")
    expected = Expectation()
    for what, value in [*steps, ("sync", None)]:
        take(what, value, one, expected, sync)
    profile = sandbox.profile(one.external_id)
    held = {**profile["standard_attributes"], **profile["custom_attributes"]}
    assert typed(held) == typed(expected.profile())
    assert (sandbox.summary()["rejected"], sandbox.summary()["dropped"]) == (0, {})


def take(what: str, value: Any, one: Customer, expected: Expectation, sync: Callable[[], None]) -> None:
    if what == "sync":
        sync()
        expected.synced(list(one.audiences.values_list("name", flat=True)))
    elif what in ("join", "leave"):
        audience, _ = Audience.objects.get_or_create(account=one.account, name=value)
        getattr(audience.customers, {"join": "add", "leave": "remove"}[what])(one)
    else:
        edit(what, value, one, expected)
        one.save()


def edit(what: str, value: Any, one: Customer, expected: Expectation) -> None:
    if what == "tag":
        one.tags[value[0]] = expected.tags[value[0]] = value[1]
    elif what == "untag":
        one.tags.pop(value, None)
        expected.tags.pop(value, None)
    else:
        setattr(one, what, value[0])
        expected.said[ATTRIBUTES.get(what, what)] = value[1]

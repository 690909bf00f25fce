"""Ten thousand arbitrary bodies: never a crash, and nothing accepted that breaks a documented rule.

The rules are written here a second time, plainly, so that they do not come from the code they check.
"""

import re
import string
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.braze.sandbox.limits import Limit
from tests.integrations.braze.sandbox.client import TIME, Braze, json_of

UNLIMITED = {"track_limit": Limit(0, 3.0), "delete_limit": Limit(0, 60.0), "export_limit": Limit(0, 60.0)}
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
number = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
anything = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)

ALIAS = {"alias_name": "n", "alias_label": "l"}
NAMES = ["a", "b", "", " c ", "$d", "price", "time", "event_id", "x" * 256, "k" * 255]
VALUES: list[Any] = [
    "", "x" * 255, "x" * 256, "2026-01-01", "3001-01-01", "12-1-2021", None, True, 7, 1.5, [1, None], ["a", "a"],
    {"a": {"b": None}}, {"a b": 1}, {"$time": "2026-01-01"}, {"$time": None}, list(range(501)), {"deep": [[[[1]]]]},
]  # fmt: skip
IDENTIFIERS: list[dict[str, Any]] = [
    {"external_id": "v"}, {"external_id": ""}, {"external_id": "é" * 494}, {"external_id": 5}, {"external_id": None},
    {"external_id": None, "email": "a@b.co"}, {"external_id": None, "user_alias": ALIAS}, {"email": "nonsense"},
    {"external_id": None, "user_alias": ALIAS, "_update_existing_only": False}, {"external_id": None, "phone": "+49"},
    {"external_id": None, "braze_id": "0" * 24}, {"braze_id": "b"}, {"_update_existing_only": True},
]  # fmt: skip
STANDARD = {
    "email": ["a@b.co", "x", "", None, 5],
    "country": ["US", "Atlantis", None, 5],
    "time_zone": ["UTC", "Mars", "../x", "America", "", None, []],
    "dob": ["1980-12-21", "1980-02-30", None, 5],
    "gender": ["M", "FEMALE", None, {}],
    "email_subscribe": ["opted_in", "no", None],
    "current_location": [{"latitude": 1, "longitude": 2}, {"latitude": 91, "longitude": 2}, None, 7],
    "subscription_groups": [[], [{}], "x", None],
    "push_tokens": [[{"app_id": "a", "token": "t"}], [5], None],
}
TIMES = ["2026-01-01", "2099-01-01T00:00:00+05:00", "0001-01-01T00:00:00+14:00", "soon", "", 7, None]
SALE = {
    "product_id": ["x" * 255, "x" * 256, "", None],
    "currency": ["EUR", "XYZ", "usd", 5],
    "price": [0.1, -3.5, 1e300, -1e-300, "1", None, True],
    "quantity": [1, 100, 101, 0, -1, 1.0, None],
}


def each(fields: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{name: value} for name, values in fields.items() for value in values]


def twisted(good: dict[str, Any], *twists: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A valid object with up to three of its fields replaced: close enough to valid that many are accepted."""
    chosen = st.lists(st.one_of(properties_twist, *map(st.sampled_from, twists)), max_size=3)
    return chosen.map(lambda some: {key: value for one in [good, *some] for key, value in one.items()})


properties_twist = (
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=3)
    | st.just({f"p{number}": number for number in range(300)})
    | anything
).map(lambda value: {"properties": value})
custom = [{name: value} for name in NAMES for value in VALUES if name not in ("price", "time")]
attributes = twisted({"external_id": "u", "a": 1}, IDENTIFIERS, each(STANDARD), custom)
event = twisted(
    {"external_id": "u", "name": "visit", "time": TIME}, IDENTIFIERS, each({"time": TIMES, "name": ["", 5]})
)
purchase = twisted(
    {"external_id": "u", "product_id": "p", "currency": "USD", "price": 1, "quantity": 1, "time": TIME},
    IDENTIFIERS,
    each({"time": TIMES, **SALE}),
)


def array(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(item, max_size=3) | st.sampled_from([[], None, {}, [[]], [None] * 76])


track_body = st.fixed_dictionaries(
    {}, optional={"attributes": array(attributes), "events": array(event), "purchases": array(purchase)}
)
identifiers_body = st.fixed_dictionaries(
    {},
    optional={
        "external_ids": anything | st.lists(st.sampled_from(["u", "v", ""]), max_size=3),
        "user_aliases": anything,
        "braze_ids": anything,
        "email_addresses": anything | st.just([{"email": "a@b.co", "prioritization": ["identified"]}]),
        "fields_to_export": anything,
    },
)
paths = st.sampled_from(["/users/track", "/users/delete", "/users/export/ids"])


@given(documents=st.lists(track_body, min_size=5, max_size=5))
@settings(RELAXED, max_examples=1_000)
def test_it_accepts_nothing_that_breaks_a_rule(documents: list[dict[str, Any]]) -> None:
    braze = Braze(journal=True, **UNLIMITED)
    for document in documents:
        response = braze.post("/users/track", document)
        assert response.status in (201, 400)
        if response.status == 201:
            check_accepted(document, json_of(response))
    check_state(braze)


@given(bodies=st.lists(st.tuples(paths, anything | identifiers_body), min_size=4, max_size=4))
@settings(RELAXED, max_examples=750)
def test_it_survives_any_json(bodies: list[tuple[str, Any]]) -> None:
    braze = Braze(**UNLIMITED)
    braze.track(attributes=[{"external_id": "u", "email": "a@b.co"}])
    for path, document in bodies:
        assert braze.post(path, document).status in (201, 400)


@given(
    bodies=st.lists(
        st.tuples(paths, st.binary(max_size=30) | st.text(string.printable, max_size=30).map(str.encode)),
        min_size=5,
        max_size=5,
    )
)
@settings(RELAXED, max_examples=400)
def test_it_survives_any_bytes(bodies: list[tuple[str, bytes]]) -> None:
    braze = Braze(**UNLIMITED)
    for path, body in bodies:
        assert braze.post(path, body=body).status in (201, 400)


def test_it_survives_deep_nesting_and_odd_numbers() -> None:
    braze = Braze(**UNLIMITED)
    item = b'{"events":[{"external_id":"u","name":"v","time":"2026-01-01","properties":{"a":%s}}]}'
    for depth in (49, 100, 195, 200, 300, 900, 5_000, 100_000):
        response = braze.post("/users/track", body=item % (b"[" * depth + b"]" * depth))
        assert response.status == (201 if depth < 197 else 400), depth
        attribute = b'{"attributes":[{"external_id":"u","a":%s}]}' % (b'{"k":' * depth + b"1" + b"}" * depth)
        assert braze.post("/users/track", body=attribute).status == (201 if depth < 197 else 400), depth
    for number in (b"1e400", b"-0", b"1" * 5_000, b"1E-400", b"0.1e1", b"NaN", b"Infinity", b'"\\ud800"'):
        sale = b'{"external_id":"u","product_id":"p","currency":"USD","time":"2026-01-01","price":%s}'
        assert braze.post("/users/track", body=b'{"purchases":[%s]}' % (sale % number)).status in (201, 400)
    check_state(braze)


def check_accepted(document: dict[str, Any], answer: dict[str, Any]) -> None:
    assert answer["message"] == "success"
    refused = {(error["input_array"], error["index"]) for error in answer.get("errors", [])}
    for name in ("attributes", "events", "purchases"):
        items = document.get(name)
        if not isinstance(items, list):
            assert f"{name}_processed" not in answer
            continue
        assert len(items) <= 75
        accepted = [item for index, item in enumerate(items) if (name, index) not in refused]
        assert answer[f"{name}_processed"] == len(accepted)
        for item in accepted:
            check_item(name, item)


def check_item(array: str, item: dict[str, Any]) -> None:
    primaries = [item[name] for name in ("external_id", "user_alias", "braze_id") if item.get(name) is not None]
    assert len(primaries) <= 1
    assert primaries or item.get("email") or item.get("phone")
    if item.get("external_id") is not None:
        assert 0 < len(item["external_id"].encode()) <= 987
    if array == "attributes":
        assert item.get("email") in ("a@b.co", None)
        assert item.get("current_location") in ({"latitude": 1, "longitude": 2}, None)
        assert item.get("email_subscribe", "opted_in") == "opted_in"
        return
    assert isinstance(item["time"], str)
    assert re.match(r"\d{4}-\d\d-\d\d", item["time"])
    properties = item.get("properties") or {}
    assert isinstance(properties, dict)
    assert "time" not in properties
    if array == "events":
        assert isinstance(item["name"], str)
        assert item["name"]
        return
    assert "price" not in properties
    assert 0 < len(item["product_id"]) <= 255
    assert item["currency"] in ("USD", "EUR")
    assert type(item["price"]) in (int, float)
    assert type(item["quantity"]) is int
    assert 1 <= item["quantity"] <= 100


def check_state(braze: Braze) -> None:
    """Everything can be shown, and no profile holds what Braze would have dropped."""
    assert braze.get("/control/summary")["profiles"] == len(braze.sandbox.workspace.profiles)
    for name in list(braze.sandbox.workspace.profiles.by_external_id):
        if name:
            profile = braze.get(f"/control/profile?external_id={name}")
            assert braze.export(name)["users"]
            check_profile(profile)


def check_profile(profile: dict[str, Any]) -> None:
    for name, value in profile["custom_attributes"].items():
        assert 0 < len(name) <= 255
        assert name == name.strip()
        assert value is not None
        assert not (isinstance(value, str) and len(value) > 255)
        assert not (isinstance(value, list) and len(value) > 500)
        assert "null" not in orjson.dumps(value).decode()
    assert profile["standard_attributes"].get("country", "US") == "US"
    assert profile["standard_attributes"].get("gender", "M") == "M"
    assert profile["standard_attributes"].get("time_zone", "UTC") == "UTC"
    for item in [*profile["events"], *profile["purchases"]]:
        assert item["time"] <= "2026-11-18T11:06:40.000Z"
        assert len(item["properties"]) <= 256
        assert not any(name.startswith("$") or not 0 < len(name) <= 255 for name in item["properties"])
        assert not any(isinstance(value, str) and len(value) > 255 for value in item["properties"].values())

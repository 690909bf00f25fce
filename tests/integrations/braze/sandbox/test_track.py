"""Sections 1 and 2: the envelope of /users/track, which profile an object finds, order, and exact sums."""

import random
from decimal import Decimal
from typing import Any

import pytest

from tests.integrations.braze.sandbox.client import TIME, Braze, json_of

ALIAS = {"alias_name": "n", "alias_label": "l"}


def objects(array: str, count: int) -> list[dict[str, Any]]:
    sale = {"product_id": "p", "currency": "USD", "price": 1, "time": TIME}
    extra = {"attributes": {"a": 1}, "events": {"name": "visit", "time": TIME}, "purchases": sale}[array]
    return [{"external_id": f"u{number}", **extra} for number in range(count)]


@pytest.mark.parametrize(
    ("contract", "counts", "status"),
    [
        ("legacy", (75, 75, 75), 201),
        ("legacy", (0, 76, 0), 400),
        ("combined", (25, 25, 25), 201),
        ("combined", (26, 25, 25), 400),
        ("combined", (75, 0, 0), 201),
    ],
)
def test_it_limits_objects_by_contract_1_3(contract: str, counts: tuple[int, int, int], status: int) -> None:
    braze = Braze(keys=[f"a-test-key:{contract}"])
    attributes, events, purchases = counts
    response = braze.track(
        attributes=objects("attributes", attributes),
        events=objects("events", events),
        purchases=objects("purchases", purchases),
    )
    assert response.status == status
    if status == 400:
        assert json_of(response) == {"message": "Max Input Length Exceeded"}


def test_it_takes_a_body_of_just_4_mb_1_4(braze: Braze) -> None:
    body = b'{"attributes":[{"external_id":"u","a":1}]}'
    padding = b" " * (4 * 1024 * 1024 - len(body))
    assert braze.post("/users/track", body=body + padding).status == 201
    assert braze.post("/users/track", body=body + padding + b" ").status == 413


def test_it_counts_only_the_arrays_that_were_sent_1_7(braze: Braze) -> None:
    response = braze.track(attributes=objects("attributes", 2), purchases=objects("purchases", 1))
    assert json_of(response) == {"attributes_processed": 2, "purchases_processed": 1, "message": "success"}


def test_it_answers_the_measured_partial_failure_verbatim_1_8(braze: Braze) -> None:
    response = braze.track(
        attributes=[
            {"external_id": "a", "first_name": "A"},
            {"external_id": "b", "email_subscribe": "nope"},
            {"external_id": "c", "first_name": "C"},
            {"external_id": "d", "push_subscribe": "nope"},
            {"external_id": "e", "user_alias": ALIAS},
        ]
    )
    assert response.status == 201
    assert json_of(response) == {
        "attributes_processed": 2,
        "errors": [
            {
                "index": 1,
                "input_array": "attributes",
                "type": "'email_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'",
            },
            {
                "index": 3,
                "input_array": "attributes",
                "type": "'push_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'",
            },
            {
                "index": 4,
                "input_array": "attributes",
                "type": "You must specify only one of 'external_id', 'user_alias' or 'braze_id'",
            },
        ],
        "message": "success",
    }
    assert braze.export("a", "b", "c", "d", "e")["invalid_user_ids"] == ["b", "d", "e"]


def test_it_counts_indexes_within_their_own_array_1_8(braze: Braze) -> None:
    response = braze.track(
        attributes=objects("attributes", 3), events=[*objects("events", 1), {"name": "x", "time": TIME}]
    )
    assert [(error["input_array"], error["index"]) for error in json_of(response)["errors"]] == [("events", 1)]


def test_it_can_answer_with_the_documented_codes_1_8() -> None:
    response = Braze(error_style="codes").track(
        attributes=[{"external_id": "u", "email": "x"}, {"external_id": "x" * 988}, {"external_id": "v", "a": 1}]
    )
    assert [error["type"] for error in json_of(response)["errors"]] == [
        "EMAIL_BAD_FORMAT",
        "EXTERNAL_USER_ID_TOO_LARGE",
    ]


@pytest.mark.parametrize("name", ["authorization", "Bearer a-test-key", "bearer a-test-key", "BEARER  a-test-key"])
def test_it_takes_bearer_in_any_casing_8(braze: Braze, name: str) -> None:
    expected = 401 if name == "authorization" else 201
    assert braze.post("/users/track", {"attributes": objects("attributes", 1)}, authorization=name).status == expected


def test_it_accepts_only_the_named_keys_when_some_are_named() -> None:
    braze = Braze(keys=["one", "two:combined"], refused_keys=["two"])
    statuses = {
        key: braze.post("/users/track", {"attributes": objects("attributes", 1)}, authorization=f"Bearer {key}").status
        for key in ("one", "two", "three")
    }
    assert statuses == {"one": 201, "two": 401, "three": 401}


def test_it_finds_profiles_by_their_identifiers_1_2(braze: Braze) -> None:
    braze.track(attributes=[{"external_id": "u", "email": "a@b.co", "phone": "+491"}])
    braze_id = braze.profile("u")["braze_id"]
    braze.track(
        attributes=[
            {"braze_id": braze_id, "one": 1},
            {"email": "a@b.co", "two": 2},
            {"phone": "+491", "three": 3},
            {"email": "a@b.co", "phone": "+492", "four": 4},
        ]
    )
    found = braze.profile("u")["attributes"]
    assert found == {"email": "a@b.co", "phone": "+492", "one": 1, "two": 2, "three": 3, "four": 4}
    assert braze.summary["profiles"] == 1


def test_it_finds_a_profile_no_longer_by_an_email_it_had_1_2(braze: Braze) -> None:
    braze.track(attributes=[{"external_id": "u", "email": "old@b.co"}])
    braze.track(attributes=[{"external_id": "u", "email": "new@b.co"}])
    braze.track(attributes=[{"email": "new@b.co", "a": 1}, {"email": "old@b.co", "a": 2}])
    assert braze.profile("u")["attributes"] == {"email": "new@b.co", "a": 1}
    assert braze.summary["profiles"] == 2


def test_it_makes_a_second_profile_for_a_known_email_with_a_new_external_id_1_2(braze: Braze) -> None:
    braze.track(attributes=[{"email": "a@b.co", "plan": "gold"}])
    braze.track(attributes=[{"external_id": "u", "email": "a@b.co"}])
    assert braze.summary["profiles"] == 2


def test_it_matches_external_ids_by_exact_value_3_2(braze: Braze) -> None:
    braze.track(attributes=[{"external_id": "u", "a": 1}, {"external_id": "U", "a": 2}, {"external_id": "u ", "a": 3}])
    assert [braze.profile(one)["attributes"]["a"] for one in ("u", "U", "u ")] == [1, 2, 3]


UPDATE_ONLY = [
    ("attributes", {"external_id": "u"}, {}, 1),
    ("attributes", {"external_id": "u"}, {"_update_existing_only": True}, 0),
    ("events", {"external_id": "u"}, {"_update_existing_only": True}, 0),
    ("purchases", {"external_id": "u"}, {"_update_existing_only": True}, 0),
    ("attributes", {"user_alias": ALIAS}, {}, 0),
    ("attributes", {"user_alias": ALIAS}, {"_update_existing_only": False}, 1),
    ("events", {"user_alias": ALIAS}, {"_update_existing_only": False}, 0),
    ("attributes", {"braze_id": "0" * 24}, {}, 0),
]


@pytest.mark.parametrize(("array", "identifier", "flag", "created"), UPDATE_ONLY)
def test_it_creates_a_profile_only_where_braze_does_1_2(
    braze: Braze, array: str, identifier: dict[str, Any], flag: dict[str, bool], created: int
) -> None:
    item = {name: value for name, value in objects(array, 1)[0].items() if name != "external_id"}
    response = braze.track(**{array: [{**item, **identifier, **flag}]})
    assert json_of(response) == {f"{array}_processed": 1, "message": "success"}, "a silent drop is still a success"
    assert braze.summary["profiles"] == created
    rule = "unknown_braze_id" if "braze_id" in identifier else "update_existing_only"
    assert braze.dropped == ({} if created else {rule: 1})
    assert braze.summary["events"] + braze.summary["purchases"] == 0 if not created else True


def test_it_applies_attributes_then_events_then_purchases_1_10() -> None:
    braze = Braze(journal=True)
    arrays = {name: objects(name, 1) for name in ("purchases", "events", "attributes")}
    assert braze.track(**arrays).status == 201
    assert [entry["kind"] for entry in braze.get("/control/log")] == ["attributes", "event", "purchase"]


def test_it_applies_several_objects_of_one_user_in_their_order_1_3(braze: Braze) -> None:
    braze.track(attributes=[{"external_id": "u", "a": 1}, {"external_id": "u", "a": 2, "b": 1}])
    assert braze.profile("u")["attributes"] == {"a": 2, "b": 1}


def test_it_takes_duplicates_as_separate_events_and_counts_them_2(braze: Braze) -> None:
    event = {"external_id": "u", "name": "visit", "time": TIME, "properties": {"event_id": "e1"}}
    sale = {**objects("purchases", 1)[0], "external_id": "u", "properties": {"purchase_id": "p1"}}
    braze.track(events=[event], purchases=[sale])
    assert braze.summary["duplicates"] == {"event_id": 0, "purchase_id": 0}
    braze.track(events=[event, event], purchases=[sale])
    assert braze.summary["duplicates"] == {"event_id": 2, "purchase_id": 1}
    assert braze.profile("u")["event_counts"] == {"visit": 3}
    assert braze.summary["revenue"] == {"USD": "2.00"}


def test_it_counts_a_quantity_as_that_many_purchases_5_2(braze: Braze) -> None:
    assert braze.purchase(price=12.12, quantity=3)["price"] == "12.12"
    assert (braze.summary["purchases"], braze.summary["purchase_units"]) == (1, 3)
    assert braze.summary["revenue"] == {"USD": "36.36"}
    exported = braze.export("u")["users"][0]
    assert exported["purchases"] == [
        {"name": "p", "first": "2026-01-02T03:04:05.000Z", "last": "2026-01-02T03:04:05.000Z", "count": 3}
    ]
    assert exported["total_revenue"] == 36.36


def test_it_takes_a_negative_price_as_a_refund_5_2(braze: Braze) -> None:
    braze.purchase(price=0.1, quantity=3)
    braze.purchase(price=-0.1, quantity=3)
    assert braze.profile("u")["revenue"] == {"USD": "0.00"}
    assert braze.summary["purchases"] == 2


def test_it_sums_revenue_exactly_per_currency(braze: Braze) -> None:
    """A thousand prices whose floats do not add up; the expected sums come from whole cents."""
    draw = random.Random(1)
    cents = {"USD": 0, "EUR": 0}
    for _ in range(20):
        sales = []
        for _ in range(50):
            amount, quantity, currency = draw.randrange(-5_000, 99_999), draw.randrange(1, 9), draw.choice(list(cents))
            sales.append(
                f'{{"external_id":"u","product_id":"p","currency":"{currency}","price":{Decimal(amount) / 100},'
                f'"quantity":{quantity},"time":"{TIME}"}}'
            )
            cents[currency] += amount * quantity
        assert braze.post("/users/track", body=f'{{"purchases":[{",".join(sales)}]}}'.encode()).status == 201
    expected = {currency: f"{Decimal(total) / 100:.2f}" for currency, total in cents.items()}
    assert braze.summary["revenue"] == braze.profile("u")["revenue"] == dict(sorted(expected.items()))


def test_it_keeps_digits_that_a_float_would_lose(braze: Braze) -> None:
    rest = f'"external_id":"u","product_id":"p","currency":"USD","time":"{TIME}"'
    body = f'{{"purchases":[{{"price":9007199254740993.01,{rest}}},{{"price":0.000000000000000001,{rest}}}]}}'
    assert braze.post("/users/track", body=body.encode()).status == 201
    assert braze.summary["revenue"] == {"USD": "9007199254740993.010000000000000001"}


def test_it_checks_and_counts_without_keeping_profiles() -> None:
    braze = Braze(keep_profiles=False)
    event = {"external_id": "u", "name": "visit", "time": TIME, "properties": {"event_id": "e"}}
    response = braze.track(events=[event, event, {"name": "x"}], purchases=objects("purchases", 2))
    assert json_of(response)["events_processed"] == 2
    summary = braze.summary
    assert (summary["profiles"], summary["events"], summary["purchases"], summary["rejected"]) == (0, 2, 2, 1)
    assert summary["revenue"] == {"USD": "2.00"}
    assert summary["duplicates"]["event_id"] == 1

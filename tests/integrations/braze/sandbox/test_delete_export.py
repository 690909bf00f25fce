"""Section 6, and /users/export/ids as recorded."""

from typing import Any

import pytest

from tests.integrations.braze.sandbox.client import Braze, json_of


def test_it_counts_the_ids_asked_for_not_those_that_exist_6(braze: Braze) -> None:
    braze.attributes(a=1)
    response = braze.delete("u", "never-seen", "nor-this")
    assert (response.status, json_of(response)) == (201, {"deleted": 3, "message": "success"})
    assert braze.export("u") == {"users": [], "invalid_user_ids": ["u"], "message": "success"}


def test_it_takes_50_ids_6(braze: Braze) -> None:
    assert braze.delete(*(f"u{number}" for number in range(50))).status == 201


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"external_ids": []},
        {"external_ids": "u"},
        {"external_ids": ["u", 5]},
        {"external_ids": ["u"], "braze_ids": ["b"]},
        {"user_aliases": [{"alias_name": "n"}]},
        {"email_addresses": [{"email": "a@b.co"}]},
        {"email_addresses": [{"email": "a@b.co", "prioritization": []}]},
    ],
)
def test_it_takes_exactly_one_kind_of_identifier_6(braze: Braze, document: Any) -> None:
    braze.attributes(a=1)
    assert braze.post("/users/delete", document).status == 400
    assert braze.has("u")


def test_it_deletes_by_every_kind_of_identifier_6(braze: Braze) -> None:
    alias = {"alias_name": "n", "alias_label": "l"}
    braze.track(
        attributes=[
            {"external_id": "a"},
            {"user_alias": alias, "_update_existing_only": False, "x": 1},
            {"external_id": "c", "email": "c@x.co"},
            {"external_id": "d", "phone": "+49"},
        ]
    )
    by_email = {"email": "c@x.co", "prioritization": ["identified"]}
    by_phone = {"phone": "+49", "prioritization": ["most_recently_updated"]}
    left = []
    for kind, item in [
        ("braze_ids", braze.profile("a")["braze_id"]),
        ("user_aliases", alias),
        ("email_addresses", by_email),
        ("phone_numbers", by_phone),
    ]:
        assert braze.post("/users/delete", {kind: [item]}).status == 201
        left.append(braze.summary["profiles"])
    assert left == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("order", "left"),
    [
        (["identified"], {"old", "new"}),
        (["most_recently_updated"], {"old"}),
        (["identified", "most_recently_updated"], {"old"}),
    ],
)
def test_it_deletes_nobody_when_several_match_6(braze: Braze, order: list[str], left: set[str]) -> None:
    for name in ("old", "new"):
        braze.track(attributes=[{"external_id": name, "email": "a@b.co"}])
        braze.clock.advance(1)
    braze.post("/users/delete", {"email_addresses": [{"email": "a@b.co", "prioritization": order}]})
    assert {name for name in ("old", "new") if braze.has(name)} == left


def test_it_lets_a_slow_delete_swallow_a_re_creation_6() -> None:
    braze = Braze(delete_delay=60.0)
    braze.attributes(a=1)
    braze.delete("u")
    assert braze.has("u"), "the delete is only queued"
    braze.clock.advance(59)
    braze.attributes(a=2)
    braze.clock.advance(1)
    assert braze.export("u")["users"] == []
    braze.attributes(a=3)
    braze.clock.advance(600)
    assert braze.export("u")["users"][0]["custom_attributes"] == {"a": 3}


def test_it_keeps_the_totals_of_deleted_profiles_6(braze: Braze) -> None:
    braze.event()
    braze.purchase(price=5)
    braze.delete("u")
    summary = braze.summary
    assert (summary["profiles"], summary["events"], summary["purchases"]) == (0, 1, 1)
    assert summary["revenue"] == {"USD": "5.00"}


def test_it_re_creates_a_deleted_user_from_a_late_track_6(braze: Braze) -> None:
    braze.attributes(a=1, b=1)
    first = braze.profile("u")["braze_id"]
    braze.delete("u")
    assert braze.attributes(a=2) == {"a": 2}
    assert braze.profile("u")["braze_id"] != first


def test_it_exports_a_profile_as_recorded(braze: Braze) -> None:
    braze.attributes(first_name="John", dob="1980-12-21", groups=[], email="j@x.co")
    braze.event(name="visit")
    braze.event(name="visit", time="2025-01-01T00:00:00Z")
    exported = braze.export("nobody", "u")
    user = exported["users"][0]
    volatile = {name: user.pop(name) for name in ("created_at", "appboy_id", "braze_id", "random_bucket")}
    assert volatile["created_at"] == "2026-11-18T11:06:40.000Z"
    assert user == {
        "external_id": "u",
        "user_aliases": [],
        "first_name": "John",
        "email": "j@x.co",
        "custom_attributes": {"groups": []},
        "dob": "1980-12-21T00:00:00.000Z",
        "custom_events": [
            {"name": "visit", "first": "2025-01-01T00:00:00.000Z", "last": "2026-01-02T03:04:05.000Z", "count": 2}
        ],
        "total_revenue": 0,
        "push_subscribe": "subscribed",
        "email_subscribe": "subscribed",
    }
    assert exported["invalid_user_ids"] == ["nobody"]


def test_it_exports_only_the_fields_asked_for(braze: Braze) -> None:
    braze.attributes(first_name="John", a=1)
    response = braze.post(
        "/users/export/ids", {"external_ids": ["u"], "fields_to_export": ["external_id", "first_name"]}
    )
    assert json_of(response)["users"] == [{"external_id": "u", "first_name": "John"}]


@pytest.mark.parametrize("document", [{}, [], {"external_ids": [1]}, {"external_ids": "u"}, {"user_aliases": ["n"]}])
def test_it_refuses_an_export_of_nothing(braze: Braze, document: Any) -> None:
    assert braze.post("/users/export/ids", document).status == 400


def test_it_can_read_late_1_10() -> None:
    braze = Braze(read_lag=5.0)
    braze.attributes(a=1)
    assert braze.export("u")["users"] == []
    braze.clock.advance(3)
    braze.attributes(a=2)
    braze.clock.advance(2)
    assert braze.export("u")["users"][0]["custom_attributes"] == {"a": 1}
    braze.clock.advance(3)
    assert braze.export("u")["users"][0]["custom_attributes"] == {"a": 2}
    braze.delete("u")
    assert braze.export("u")["users"][0]["custom_attributes"] == {"a": 2}
    braze.clock.advance(5)
    assert braze.export("u")["users"] == []

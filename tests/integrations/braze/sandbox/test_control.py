"""The inspection endpoints that tests, the demo and the page read."""

import pytest

from integrations.braze.sandbox.messages import Request
from tests.integrations.braze.sandbox.client import TIME, Braze, json_of


def test_it_sums_up_what_it_holds(braze: Braze) -> None:
    braze.attributes(country="Atlantis", a=1)
    braze.event(properties={"event_id": "e"})
    braze.purchase(price=2.5, quantity=2)
    braze.track(attributes=[{"a": 1}])
    braze.post("/users/track", {}, authorization="Bearer invalid")
    braze.delete("nobody")
    braze.export("u")
    assert braze.get("/control/summary") == {
        "profiles": 1,
        "events": 1,
        "purchases": 1,
        "purchase_units": 2,
        "revenue": {"USD": "5.00"},
        "requests": {"track": 5, "delete": 1, "export": 1},
        "statuses": {"201": 5, "400": 1, "401": 1},
        "dropped": {"country_unknown": 1},
        "rejected": 1,
        "duplicates": {"event_id": 0, "purchase_id": 0},
        "overlaps": 0,
    }


def test_it_shows_everything_about_a_profile(braze: Braze) -> None:
    braze.attributes(first_name="Ann", points=5)
    braze.event(properties={"store": "north"})
    braze.purchase(price=1.10, properties={"order_id": "o"})
    profile = braze.get("/control/profile?external_id=u")
    assert profile["attributes"] == {"first_name": "Ann", "points": 5}
    assert profile["event_counts"] == {"visit": 1}
    assert profile["events"] == [
        {"name": "visit", "time": "2026-01-02T03:04:05.000Z", "properties": {"store": "north"}}
    ]
    assert profile["purchases"] == [
        {
            "product_id": "p",
            "currency": "USD",
            "price": "1.1",
            "quantity": 1,
            "time": "2026-01-02T03:04:05.000Z",
            "properties": {"order_id": "o"},
        }
    ]
    assert profile["revenue"] == {"USD": "1.10"}
    missing = braze.sandbox.handle(Request("GET", "/control/profile", "external_id=nobody", {}, b""))
    assert missing.status == 404


def test_it_finds_profiles_by_prefix_with_a_limit(braze: Braze) -> None:
    braze.track(attributes=[{"external_id": one, "a": 1} for one in ("ab1", "ab2", "ab3", "b&c", "Ab4")])
    assert braze.get("/control/profiles?prefix=ab&limit=2") == ["ab1", "ab2"]
    assert braze.get("/control/profiles?prefix=b%26") == ["b&c"]
    assert braze.get("/control/profiles?prefix=zz") == []


def test_it_logs_requests_newest_first(braze: Braze) -> None:
    braze.track(
        attributes=[{"external_id": "u", "a": 1}, {"a": 2}], events=[{"external_id": "u", "name": "v", "time": TIME}]
    )
    braze.delete("u")
    newest, first = braze.get("/control/requests")
    assert (newest["path"], newest["status"], newest["counts"]) == ("/users/delete", 201, {"external_ids": 1})
    assert first["counts"] == {"attributes": 2, "events": 1}
    assert first["rejected"] == 1
    assert first["status"] == 201
    assert [entry["seq"] for entry in braze.get(f"/control/requests?after={first['seq']}")] == [newest["seq"]]
    assert len(braze.get("/control/requests?limit=1")) == 1
    assert "body" not in newest
    assert braze.get("/control/requests?bodies=1")[0]["body"] == '{"external_ids":["u"]}'


def test_it_never_logs_a_key() -> None:
    secret = "0123456789abcdef-secret"
    braze = Braze(refused_keys=[secret])
    for authorization in (f"Bearer {secret}", secret):
        assert braze.post("/users/track", {}, authorization=authorization).status == 401
    assert secret not in str(braze.get("/control/requests?bodies=1"))


def test_it_journals_what_took_effect_per_customer() -> None:
    braze = Braze(journal=True)
    braze.track(attributes=[{"external_id": "u", "a": 1}, {"email": "not one"}])
    braze.track(attributes=[{"external_id": "gone", "_update_existing_only": True, "a": 1}])
    braze.purchase()
    braze.delete("u", "nobody")
    entries = braze.get("/control/log?after=0")
    assert [(entry["seq"], entry["customer"], entry["kind"]) for entry in entries] == [
        (1, "u", "attributes"),
        (2, "u", "purchase"),
        (3, "u", "delete"),
    ]
    assert [entry["seq"] for entry in braze.get("/control/log?after=1&limit=1")] == [2]
    assert [entry["request"] for entry in entries] == [1, 3, 4]


def test_it_says_when_there_is_no_journal(braze: Braze) -> None:
    assert braze.sandbox.handle(Request("GET", "/control/log", "", {}, b"")).status == 404


def test_it_resets_everything() -> None:
    braze = Braze(journal=True, faults=[{"latency": 0.0}], blocked_attributes=["secret"])
    braze.sandbox.faults.add(status=500)
    braze.track()
    braze.sandbox.faults.clear()
    braze.attributes(a=1)
    response = braze.sandbox.handle(Request("POST", "/control/reset", "", {}, b""))
    assert json_of(response)["requests"] == {"track": 0, "delete": 0, "export": 0}
    assert braze.get("/control/log") == braze.get("/control/requests") == []
    assert [fault["status"] for fault in braze.get("/control/faults")] == [0]
    assert braze.attributes(a=1, secret=1) == {"a": 1}


@pytest.mark.parametrize("query", ["limit=many", "limit=-1", "after=x"])
def test_it_refuses_a_number_that_is_none(braze: Braze, query: str) -> None:
    assert braze.sandbox.handle(Request("GET", "/control/requests", query, {}, b"")).status == 400


@pytest.mark.parametrize(
    "path", ["/control/none", "/control/reset", "/page/../server.py", "/page/none.js", "/favicon.ico"]
)
def test_it_knows_no_other_addresses(braze: Braze, path: str) -> None:
    assert braze.sandbox.handle(Request("GET", path, "", {}, b"")).status == 404

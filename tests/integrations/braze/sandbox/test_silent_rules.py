"""Sections 3 to 5: what Braze drops or rewrites while answering success, in the profile and in the counters."""

import time
from typing import Any

import pytest

from tests.integrations.braze.sandbox.client import START, TIME, Braze

NOW = "2026-11-18T11:06:40.000Z"
LONG = "x" * 256

# What the user already has; a dropped value leaves it alone.
HELD = {
    "first_name": "Ann",
    "country": "US",
    "language": "en",
    "gender": "F",
    "time_zone": "Europe/Berlin",
    "dob": "1980-12-21",
    "colour": "red",
    "date_of_first_session": "2026-01-01T00:00:00Z",
    "email_open_tracking_disabled": True,
}

DROPPED: dict[str, tuple[str, Any, str]] = {
    "3.3 string over 255": ("colour", LONG, "string_too_long"),
    "3.2 standard string over 255": ("first_name", LONG, "string_too_long"),
    "3.2 name no string": ("first_name", 5, "standard_type"),
    "3.2 time zone invalid": ("time_zone", "Mars/Olympus", "time_zone_invalid"),
    "3.2 language invalid": ("language", "english", "language_invalid"),
    "3.2 gender invalid": ("gender", "FEMALE", "gender_invalid"),
    "3.2 dob format": ("dob", "12/21/1980", "dob_invalid"),
    "3.2 dob no date": ("dob", "1980-02-30", "dob_invalid"),
    "3.2 time of the first session": ("date_of_first_session", "soon", "standard_time_invalid"),
    "3.2 flag no boolean": ("email_open_tracking_disabled", "yes", "standard_type"),
    "3.3 array over 500": ("colour", list(range(501)), "array_too_long"),
    "3.3 array over 100 KB": ("colour", ["y" * 250 + str(n) for n in range(450)], "value_too_large"),
    "3.3 array with a long string": ("colour", ["a", LONG], "nested_invalid"),
    "3.3 array with null": ("colour", ["a", None], "nested_invalid"),
    "3.3 nested null": ("colour", {"a": 1, "b": None}, "nested_invalid"),
    "3.3 nested long string": ("colour", {"a": {"b": LONG}}, "nested_invalid"),
    "3.3 nested key with a space": ("colour", {"a b": 1}, "nested_invalid"),
    "3.3 nested key with a dot": ("colour", {"a.b": 1}, "nested_invalid"),
    "3.3 nested key with a dollar": ("colour", {"$a": 1}, "nested_invalid"),
    "3.3 nested key over 255": ("colour", {LONG: 1}, "nested_invalid"),
    "3.3 nested time null": ("colour", {"at": {"$time": None}}, "nested_invalid"),
    "3.3 nested time no time": ("colour", {"at": {"$time": "soon"}}, "nested_invalid"),
    "3.3 nested time after 3000": ("colour", {"at": {"$time": "3001-01-01"}}, "nested_invalid"),
    "3.3 object over 100 KB": ("colour", {f"k{n}": "z" * 250 for n in range(450)}, "value_too_large"),
}


@pytest.mark.parametrize(("name", "value", "rule"), DROPPED.values(), ids=DROPPED)
def test_it_drops_an_attribute_silently_and_keeps_the_old_value(braze: Braze, name: str, value: Any, rule: str) -> None:
    assert braze.attributes(**HELD) == HELD
    assert braze.dropped == {}
    assert braze.attributes(**{name: value, "other": 1}) == {**HELD, "other": 1}
    assert braze.dropped == {rule: 1}


KEPT: dict[str, tuple[str, Any, Any]] = {
    "3.3 string of 255": ("a", "é" * 255, "é" * 255),
    "3.1 empty string": ("a", "", ""),
    "3.3 numbers and booleans": ("a", 1.5, 1.5),
    "3.3 boolean": ("a", False, False),
    "3.3 ISO time": ("a", "2026-03-26T18:12:00+02:00", "2026-03-26T16:12:00.000Z"),
    "3.3 no zone is UTC": ("a", "2026-03-26 18:12:00", "2026-03-26T18:12:00.000Z"),
    "3.3 date": ("a", "2026-03-26", "2026-03-26T00:00:00.000Z"),
    "3.3 colon before millis": ("a", "2026-03-26T18:12:00:123Z", "2026-03-26T18:12:00.123Z"),
    "3.3 any other format stays a string": ("a", "Mar 26 2026 06:12 PM +00:00", "Mar 26 2026 06:12 PM +00:00"),
    "3.3 a bare number stays a string": ("a", "20260326", "20260326"),
    "3.3 array of 500": ("a", list(range(500)), list(range(500))),
    "3.3 array is a set, the last wins": ("a", ["x", "y", "x"], ["y", "x"]),
    "3.3 1, true and '1' differ": ("a", [1, True, "1"], [1, True, "1"]),
    "3.3 nested object": ("a", {"b": {"c": [1]}, "at": {"$time": TIME}}, {"b": {"c": [1]}, "at": {"$time": TIME}}),
    "3.3 array of objects, any number": ("a", [{"n": n} for n in range(600)], [{"n": n} for n in range(600)]),
    "3.2 country by name": ("country", "Australia", "AU"),
    "3.2 time zone of Rails": ("time_zone", "Eastern Time (US & Canada)", "Eastern Time (US & Canada)"),
}


@pytest.mark.parametrize(("name", "value", "kept"), KEPT.values(), ids=KEPT)
def test_it_keeps_a_value_as_braze_would(braze: Braze, name: str, value: Any, kept: Any) -> None:
    assert braze.attributes(**{name: value}) == {name: kept}
    assert braze.dropped == {}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("12-1-2021", "2021-12-01T00:00:00.000Z"),
        ("12/1/2021", "2021-12-01T00:00:00.000Z"),
        ("03/26/2026", "2026-03-26T00:00:00.000Z"),
        ("Thu 03 26 18:12:00.UTC 2026", "2026-03-26T18:12:00.000Z"),
    ],
)
def test_it_counts_a_string_that_became_a_time_3_3(braze: Braze, sent: str, kept: str) -> None:
    assert braze.attributes(a=sent) == {"a": kept}
    assert braze.dropped == {"string_became_time": 1}


def test_it_keeps_a_date_out_of_range_as_a_string_3_3(braze: Braze) -> None:
    assert braze.attributes(a="3001-01-01") == {"a": "3001-01-01"}
    assert braze.dropped == {"date_kept_as_string": 1}


def test_it_sets_an_unknown_country_to_null_3_2(braze: Braze) -> None:
    assert braze.attributes(country="DE") == {"country": "DE"}
    assert braze.attributes(country="Atlantis") == {}
    assert braze.dropped == {"country_unknown": 1}


def test_it_removes_an_attribute_set_to_null_3_1(braze: Braze) -> None:
    braze.attributes(**HELD)
    assert braze.attributes(colour=None, first_name=None, country=None, language=None, gender=None) == {
        "time_zone": "Europe/Berlin",
        "dob": "1980-12-21",
        "date_of_first_session": "2026-01-01T00:00:00Z",
        "email_open_tracking_disabled": True,
    }
    assert braze.dropped == {}


def test_it_strips_spaces_around_names_and_heeds_their_case_3_4(braze: Braze) -> None:
    assert braze.attributes(**{" plan ": 1, "Plan": 2}) == {"plan": 1, "Plan": 2}


@pytest.mark.parametrize("name", [LONG, "  "])
def test_it_drops_an_attribute_with_a_bad_name_3_4(braze: Braze, name: str) -> None:
    assert braze.attributes(**{name: 1}) == {}
    assert braze.dropped == {"attribute_name_invalid": 1}


def test_it_drops_what_the_workspace_blocklists_3_4() -> None:
    braze = Braze(blocked_attributes=["secret"], blocked_events=["noise"], blocked_products=["gift"])
    assert braze.attributes(secret=1, plan="gold") == {"plan": "gold"}
    braze.track(
        events=[{"external_id": "u", "name": "noise", "time": TIME}],
        purchases=[{"external_id": "u", "product_id": "gift", "currency": "USD", "price": 1, "time": TIME}],
    )
    assert braze.dropped == {"blocklisted": 3}
    assert (braze.summary["events"], braze.summary["purchases"], braze.summary["revenue"]) == (0, 0, {})


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("number", "7", 7),
        ("number", "seven", None),
        ("boolean", "t", True),
        ("boolean", 0, False),
        ("boolean", "yes", None),
        ("string", 7, "7"),
        ("string", "2026-01-01", "2026-01-01"),
        ("string", [], None),
        ("time", "2026-01-01", "2026-01-01T00:00:00.000Z"),
        ("time", "soon", None),
        ("array", ["a"], ["a"]),
        ("array", "a", None),
    ],
)
def test_it_coerces_to_a_forced_type_or_ignores_3_4(kind: str, value: Any, kept: Any) -> None:
    braze = Braze(attribute_types={"points": kind})
    assert braze.attributes(points=value) == ({} if kept is None else {"points": kept})
    assert braze.dropped == ({"type_mismatch": 1} if kept is None else {})


EVENT_PROPERTIES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = {
    "4 all kinds of values": ({"a": 1, "b": "x", "c": True, "d": [1], "e": {"f": 1}},) * 2 + ({},),  # type: ignore[dict-item]
    "4 null": ({"a": None, "b": 1}, {"b": 1}, {"property_null": 1}),
    "4 string over 255": ({"a": LONG, "b": 1}, {"b": 1}, {"property_too_long": 1}),
    "4 name with a leading dollar": ({"$a": 1, "b": 1}, {"b": 1}, {"property_name_invalid": 1}),
    "4 empty name": ({"": 1, "b": 1}, {"b": 1}, {"property_name_invalid": 1}),
    "4 name over 255": ({LONG: 1, "b": 1}, {"b": 1}, {"property_name_invalid": 1}),
    "4 over 256 properties": (
        {f"p{n}": n for n in range(259)},
        {f"p{n}": n for n in range(256)},
        {"too_many_properties": 3},
    ),
    "4 over 100 KB": ({"a": ["z" * 250] * 450}, {}, {"properties_too_large": 1}),
}


@pytest.mark.parametrize(("sent", "kept", "dropped"), EVENT_PROPERTIES.values(), ids=EVENT_PROPERTIES)
def test_it_keeps_an_event_without_its_invalid_properties(
    braze: Braze, sent: dict[str, Any], kept: dict[str, Any], dropped: dict[str, int]
) -> None:
    assert braze.event(properties=sent)["properties"] == kept
    assert braze.dropped == dropped


def test_it_limits_purchase_properties_to_50_kb_5_2(braze: Braze) -> None:
    properties = {"a": ["z" * 250] * 250}
    assert braze.event(properties=properties)["properties"] == properties
    assert braze.purchase(properties=properties)["properties"] == {}
    assert braze.dropped == {"properties_too_large": 1}


def test_it_takes_nested_objects_in_purchases_as_strings_5_2(braze: Braze) -> None:
    kept = braze.purchase(properties={"a": {"b": 1}, "c": [{"d": 2}, 3]})["properties"]
    assert kept == {"a": '{"b":1}', "c": ['{"d":2}', 3]}


def test_it_rewrites_future_times_to_now_4_and_5_2(braze: Braze) -> None:
    assert braze.event(time="2027-01-01T00:00:00Z")["time"] == NOW
    assert braze.purchase(time="2026-11-18T11:06:41Z")["time"] == NOW
    assert braze.event(time="2026-11-18T11:06:40Z")["time"] == NOW
    assert braze.dropped == {"future_time": 2}
    assert braze.clock.now == START


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2013-07-16T19:20:30:000+01:00", "2013-07-16T18:20:30.000Z"),
        ("2013-07-16T19:20:30", "2013-07-16T19:20:30.000Z"),
        ("2013-07-16", "2013-07-16T00:00:00.000Z"),
        ("1995-01-01T00:00:00Z", "1995-01-01T00:00:00.000Z"),
    ],
)
def test_it_reads_event_times_in_utc_and_takes_any_past_4(braze: Braze, sent: str, kept: str) -> None:
    assert braze.event(time=sent)["time"] == kept
    assert braze.dropped == {}


def test_it_takes_a_time_without_zone_as_utc_wherever_it_runs_3_3(
    braze: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert braze.attributes(a="2026-03-26 18:12:00") == {"a": "2026-03-26T18:12:00.000Z"}
        assert braze.event(time="2026-03-26T18:12:00")["time"] == "2026-03-26T18:12:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_it_blocks_a_profile_with_over_20_000_event_names_4(braze: Braze) -> None:
    for start in range(0, 20_001, 75):
        names = [f"e{number}" for number in range(start, min(start + 75, 20_001))]
        braze.clock.advance(1)
        assert braze.track(events=[{"external_id": "u", "name": name, "time": TIME} for name in names]).status == 201
    assert braze.track(attributes=[{"external_id": "u", "a": 1}]).status == 400
    assert braze.track(attributes=[{"external_id": "v", "a": 1}]).status == 201

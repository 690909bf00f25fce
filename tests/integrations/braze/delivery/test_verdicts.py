"""From Braze's answers, documented and measured, to the fate of each object and of the account's traffic."""

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze.delivery import client, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.models import Outcome

KEY = "0f1e2d3c-4b5a-6978"
NOW = 1_790_000_000.0
NO_VALID_DATA = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."
PLACES = [(array, index) for array in ("attributes", "events", "purchases", "deletions") for index in range(5)]

#: Measured: five attributes objects, three of them bad, HTTP 201.
MEASURED = {
    "attributes_processed": 2,
    "errors": [
        {"index": 1, "input_array": "attributes", "type": "'email_subscribe' must be 'subscribed'"},
        {"index": 3, "input_array": "attributes", "type": "'push_subscribe' must be 'subscribed'"},
        {"index": 4, "input_array": "attributes", "type": "You must specify only one of 'external_id'"},
    ],
    "message": "success",
}


def verdict(status: int, body: Any, headers: dict[str, str] | None = None) -> Verdict:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return verdicts.of_answer(Answer(status, raw, headers or {}), KEY)


def error(array: Any = None, index: Any = None, words: str = "EMAIL_BAD_FORMAT") -> dict[str, Any]:
    return {
        name: value for name, value in (("input_array", array), ("index", index), ("type", words)) if value is not None
    }


def fates(found: Verdict, array: str = "attributes", count: int = 5) -> list[str]:
    return [found.fate(array, index).value for index in range(count)]


# --- the whole request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "outcome", "fate", "traffic"),
    [
        (201, {"attributes_processed": 1, "message": "success"}, "accepted", "delivered", "go on"),
        (200, {"events_processed": 1, "message": "success"}, "accepted", "delivered", "go on"),
        (201, {"deleted": 3, "message": "success"}, "accepted", "delivered", "go on"),
        (201, {"deleted": 3}, "accepted", "delivered", "go on"),
        (201, {"message": "success", "errors": []}, "accepted", "delivered", "go on"),
        (202, {"message": "queued"}, "accepted", "delivered", "go on"),
        # 2xx that do not say success
        (201, {"attributes_processed": 1}, "unknown", "unknown", "back off"),
        (201, {"attributes_processed": 1, "message": NO_VALID_DATA}, "unknown", "unknown", "back off"),
        (200, {"message": "Success!"}, "unknown", "unknown", "back off"),
        (200, {"deleted": 3, "message": "no"}, "unknown", "unknown", "back off"),
        (201, b'{"attributes_processed": 1, "mess', "unknown", "unknown", "back off"),
        (201, b"", "unknown", "unknown", "back off"),
        (200, b"<html>Sign in to the hotel's network</html>", "unknown", "unknown", "back off"),
        (200, [], "unknown", "unknown", "back off"),
        (200, {"message": ["success"]}, "unknown", "unknown", "back off"),
        # refused as a whole: nothing is dropped; a part of it may be taken, or a person has to act
        (400, {"message": "Bad Request"}, "refused", "retry", "split"),
        (400, {"message": "Max Input Length Exceeded"}, "refused", "retry", "combine"),
        (400, {"message": "The max number of ids per request was exceeded"}, "refused", "retry", "split"),
        (400, b"<html>", "refused", "retry", "split"),
        (401, {"message": f"Invalid API key: {KEY}"}, "refused", "retry", "pause"),
        (403, {"message": "Access Denied"}, "refused", "retry", "pause"),
        (404, {"message": "Invalid URL"}, "refused", "retry", "pause"),
        (413, b"Request Entity Too Large", "refused", "retry", "split"),
        (415, {"message": "Unsupported Media Type"}, "refused", "retry", "pause"),
        (301, b"", "refused", "retry", "pause"),
        (302, {"message": "success"}, "refused", "retry", "pause"),
        # a matter of time
        (429, {"message": "Rate Limited"}, "retry", "retry", "wait"),
        (500, {"message": "Internal Server Error"}, "retry", "retry", "back off"),
        (502, b"<html><h1>502 Bad Gateway</h1></html>", "retry", "retry", "back off"),
        (503, {"message": "success"}, "retry", "retry", "back off"),
        # nobody knows
        (504, b"<html><h1>504 Gateway Time-out</h1></html>", "unknown", "unknown", "back off"),
        (520, b"", "unknown", "unknown", "back off"),
        (599, b"", "unknown", "unknown", "back off"),
        (103, b"", "unknown", "unknown", "back off"),
    ],
)  # fmt: skip
def test_it_judges_an_answer(status: int, body: Any, outcome: str, fate: str, traffic: str) -> None:
    found = verdict(status, body)
    assert (found.outcome, found.traffic) == (outcome, traffic)
    assert {found.fate(*place) for place in PLACES} == {fate}


def test_it_judges_requests_without_an_answer() -> None:
    unsent, lost, silent = verdicts.not_sent("a"), verdicts.no_answer("b"), verdicts.silent()
    assert [each.fate("events", 0) for each in (unsent, lost, silent)] == ["retry", "unknown", "unknown"]
    assert [each.traffic for each in (unsent, lost, silent)] == ["back off", "back off", "as before"]
    assert (unsent.words, lost.words) == ("a", "b") and silent.words


@given(st.integers(200, 599), st.binary(max_size=200))
def test_it_has_a_verdict_on_anything_at_all(status: int, body: bytes) -> None:
    found = verdict(status, body)
    assert found.outcome in Outcome and all(found.fate(*place) in ObjectFate for place in PLACES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.sampled_from(["success", "events", "attributes", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "errors", "index", "input_array", "type", "deleted"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from([200, 201, 400, 429, 500]), JSON)
def test_it_has_a_verdict_on_any_json(status: int, body: Any) -> None:
    assert all(verdict(status, body).fate(*place) in ObjectFate for place in PLACES)


# --- each object ----------------------------------------------------------------------------------------


def test_it_rejects_just_the_objects_that_a_success_names() -> None:
    found = verdict(201, MEASURED)
    assert fates(found) == ["delivered", "rejected", "delivered", "rejected", "rejected"]
    assert found.reasons["attributes", 3] == "'push_subscribe' must be 'subscribed'"
    assert (found.outcome, found.traffic) == (Outcome.PARTIAL, Traffic.GO_ON)


def test_it_counts_an_index_within_its_own_array() -> None:
    errors = [error("events", 0, "a"), error("purchases", 0, "'quantity' is not valid"), error("events", 2, "b")]
    found = verdict(201, {"message": "success", "errors": errors})
    assert fates(found, "attributes", 3) == ["delivered"] * 3
    assert fates(found, "events", 3) == ["rejected", "delivered", "rejected"]
    assert fates(found, "purchases", 3) == ["rejected", "delivered", "delivered"]
    assert found.reasons["purchases", 0] == "'quantity' is not valid"


def test_it_rejects_the_named_objects_of_a_400_and_sends_the_others_again() -> None:
    found = verdict(400, {"message": NO_VALID_DATA, "errors": [error("events", 0), error("events", 1)]})
    assert fates(found, "events", 3) == ["rejected", "rejected", "retry"]
    assert (found.outcome, found.traffic) == (Outcome.PARTIAL, Traffic.GO_ON)


def test_it_rejects_what_a_2xx_names_that_is_no_success_and_doubts_the_rest() -> None:
    found = verdict(201, {"message": NO_VALID_DATA, "attributes_processed": 1, "errors": [error("attributes", 1)]})
    assert fates(found, count=3) == ["unknown", "rejected", "unknown"]


@pytest.mark.parametrize(
    "nameless",
    [error("events"), error("events", "1"), error("events", -1), error("events", True), error("events", 1.0)],
)
def test_it_doubts_the_array_of_an_error_without_an_index(nameless: dict[str, Any]) -> None:
    found = verdict(201, {"message": "success", "errors": [nameless, error("events", 0)]})
    assert fates(found, "events", 3) == ["rejected", "unknown", "unknown"]
    assert fates(found, "attributes", 2) == ["delivered", "delivered"]


@pytest.mark.parametrize(
    "placeless", [error(), error(None, 1), "EMAIL_BAD_FORMAT", None, 7, error("users", 1), error(["events"], 1), {}]
)
def test_it_doubts_everything_where_an_error_says_nothing_of_its_place(placeless: Any) -> None:
    found = verdict(201, {"message": "success", "errors": [placeless, error("events", 0)]})
    assert fates(found, "events", 2) == ["rejected", "unknown"]
    assert [fates(found, array, 1) for array in ("attributes", "purchases", "deletions")] == [["unknown"]] * 3


def test_it_splits_a_request_whose_400_names_nobody() -> None:
    found = verdict(400, {"message": NO_VALID_DATA, "errors": [error()]})
    assert (found.outcome, found.traffic) == (Outcome.REFUSED, Traffic.SPLIT)


@pytest.mark.parametrize(
    "words",
    ["BAD_EMAIL_SUBSCRIPTION_STATE", "provided external_id is blacklisted and disallowed", "Invalid 'properties' field",
     "a type nobody has seen before"],
)  # fmt: skip
def test_it_takes_any_type_of_error_for_permanent_and_keeps_its_words(words: str) -> None:
    found = verdict(201, {"message": "success", "errors": [error("attributes", 0, words)]})
    assert (fates(found, count=1), found.reasons["attributes", 0]) == (["rejected"], words)


# --- words ----------------------------------------------------------------------------------------------


def test_it_redacts_the_key_that_a_401_repeats() -> None:
    found = verdict(401, {"message": f"Invalid API key: {KEY}"})
    assert KEY not in found.words
    assert "401" in found.words and "Invalid API key: [key]" in found.words


def test_it_redacts_the_key_in_the_reasons_too() -> None:
    found = verdict(201, {"message": "success", "errors": [error("events", 0, f"bad {KEY}")]})
    assert found.reasons["events", 0] == "bad [key]"
    assert KEY not in repr(found)


def test_it_redacts_before_it_cuts() -> None:
    found = verdict(503, b"x" * (verdicts.MAX_WORDS - 5) + KEY.encode())
    assert KEY[:5] not in found.words
    assert len(found.words) <= verdicts.MAX_WORDS


def test_it_keeps_brazes_words_short_and_storable() -> None:
    found = verdict(201, {"message": "success", "errors": [error("events", 0, "a\x00" * 5_000)]})
    assert len(found.reasons["events", 0]) <= verdicts.MAX_WORDS
    assert len(verdict(500, b"\x00\xff<html>" * 5_000).words) <= verdicts.MAX_WORDS
    assert "\x00" not in found.reasons["events", 0] + verdict(500, b"\x00a").words


def test_it_keeps_the_words_even_without_a_key() -> None:
    assert "busy" in verdicts.of_answer(Answer(503, b"busy"), "").words


# --- waits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-Ratelimit-Retry-After": "17"}, 17),
        ({"x-ratelimit-retry-after": "17", "Retry-After": "4", "X-RateLimit-Reset": "9"}, 17),
        ({"RETRY-AFTER": "4", "X-RateLimit-Reset": "9"}, 4),
        ({"X-RateLimit-Reset": "9"}, 9),
        ({"X-RateLimit-Reset": str(int(NOW) + 42)}, 42),
        ({"X-Ratelimit-Retry-After": "", "Retry-After": "", "X-RateLimit-Reset": "12"}, 12),
        # As HTTP writes it, and so whatever may stand between Braze and us
        ({"Retry-After": formatdate(NOW + 42, usegmt=True)}, 42),
        ({"Retry-After": formatdate(NOW - 42, usegmt=True), "X-RateLimit-Reset": "9"}, 9),
        ({"Retry-After": formatdate(NOW + 1e6, usegmt=True)}, verdicts.LONGEST_WAIT_SECONDS),
        # Nothing usable: never taken for zero
        ({}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": ""}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": "0"}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": "-5"}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": "soon"}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": "nan"}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-Ratelimit-Retry-After": "inf"}, verdicts.DEFAULT_WAIT_SECONDS),
        ({"X-RateLimit-Reset": str(int(NOW) - 42)}, verdicts.DEFAULT_WAIT_SECONDS),
        # Absurd: up to an hour is believed
        ({"X-Ratelimit-Retry-After": "99999999"}, verdicts.LONGEST_WAIT_SECONDS),
        ({"X-RateLimit-Reset": "9" * 30}, verdicts.LONGEST_WAIT_SECONDS),
    ],
)
def test_it_waits_as_long_as_braze_says(headers: dict[str, str], seconds: float) -> None:
    assert verdicts.retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("hours_off", [-1, 0, 1])
def test_it_counts_the_wait_by_brazes_own_clock_and_not_by_this_machines(hours_off: int) -> None:
    """A worker whose clock was an hour behind kept its account waiting for that hour."""
    headers = {"Date": formatdate(NOW, usegmt=True), "X-RateLimit-Reset": str(NOW + 7)}
    assert verdicts.retry_after(headers, NOW + hours_off * 3600) == 7


@pytest.mark.parametrize("date", ["", "soon", "Wed, 99 Nov 2026 14:00:00 GMT", "Wed, 25 Nov 99999 14:00:00 GMT"])
def test_it_counts_by_this_machines_clock_where_brazes_date_says_nothing(date: str) -> None:
    assert verdicts.retry_after({"Date": date, "X-RateLimit-Reset": str(NOW + 7)}, NOW) == 7


@given(st.text(), st.text("0123456789:,;+-. GMTuedSepJn", max_size=40))
def test_it_waits_for_a_time_whatever_the_headers_say(anything: str, like_a_date: str) -> None:
    for text in (anything, like_a_date):
        headers = {"Date": text, "X-Ratelimit-Retry-After": text, "Retry-After": text, "X-RateLimit-Reset": text}
        assert 0 < verdicts.retry_after(headers, NOW) <= verdicts.LONGEST_WAIT_SECONDS


def test_it_tells_the_wait_with_a_429_and_with_nothing_else() -> None:
    headers = {"x-ratelimit-retry-after": "17"}
    assert verdict(429, b"", headers).wait_seconds == 17
    assert verdict(503, b"", headers).wait_seconds == 0
    assert verdict(429, b"").wait_seconds == verdicts.DEFAULT_WAIT_SECONDS


def test_it_survives_the_empty_headers_of_a_401() -> None:
    headers = {"X-Ratelimit-Limit": "", "X-Ratelimit-Remaining": "", "X-Ratelimit-Reset": ""}
    assert verdict(401, {"message": "Invalid API key"}, headers).traffic == Traffic.PAUSE


@pytest.mark.parametrize("errors", ["EMAIL_BAD_FORMAT", {"0": "EMAIL_BAD_FORMAT"}, True])
def test_it_doubts_everything_where_the_errors_are_no_list(errors: Any) -> None:
    found = verdict(201, {"message": "success", "errors": errors})
    assert {found.fate(array, 0) for array in ("attributes", "events", "purchases")} == {ObjectFate.UNKNOWN}


def test_it_checks_what_braze_says_it_processed_against_what_was_sent() -> None:
    refused = {"type": "bad", "input_array": "events", "index": 1}
    body = {"message": "success", "attributes_processed": 2, "events_processed": 3, "errors": [refused]}
    found = verdict(201, body)
    assert verdicts.miscounted(found, {"attributes": 2, "events": 4, "purchases": 1}) == ""
    words = "Braze counted 3 events and 1 errors of 5 sent."
    assert verdicts.miscounted(found, {"attributes": 2, "events": 5, "purchases": 1}) == words
    assert found.fate("events", 0) == ObjectFate.DELIVERED


def test_it_checks_how_many_customers_braze_says_it_deleted() -> None:
    """A deletion's answer has another name for its count: one that was overlooked would never be looked at."""
    found = verdict(201, {"message": "success", "deleted": 2})
    assert verdicts.miscounted(found, {"deletions": 2}) == ""
    assert verdicts.miscounted(found, {"deletions": 3}) == "Braze counted 2 deletions and 0 errors of 3 sent."


@pytest.mark.parametrize("processed", [None, "2", 2.0, True])
def test_it_believes_only_whole_numbers_of_processed_objects(processed: Any) -> None:
    found = verdict(201, {"message": "success", "events_processed": processed})
    assert verdicts.miscounted(found, {"events": 5}) == ""


def test_a_message_that_comes_alone_is_said_without_its_json() -> None:
    told = verdicts.of_answer(Answer(400, b'{"message":"The event\'s name is blocklisted"}', {}), "key")
    assert told.words == "Braze answered 400: The event's name is blocklisted"
    more = verdicts.of_answer(Answer(400, b'{"message":"No","errors":["this"]}', {}), "key")
    assert more.words == 'Braze answered 400: {"message":"No","errors":["this"]}'


def test_a_request_time_out_of_braze_waits_for_nobody() -> None:
    verdict = verdicts.of_answer(client.Answer(408, b""), "key")
    assert (verdict.traffic, verdict.otherwise) == (verdicts.Traffic.BACK_OFF, verdicts.ObjectFate.UNKNOWN)

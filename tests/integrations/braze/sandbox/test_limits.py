"""Sections 1.5 and 1.6: limits and the two styles of headers."""

from typing import Any

import pytest

from integrations.braze.sandbox.limits import Limit
from integrations.braze.sandbox.messages import Response
from tests.integrations.braze.sandbox.client import START, Braze

ITEM = {"external_id": "u", "a": 1}


def track(braze: Braze, key: str = "a-test-key") -> Response:
    return braze.post("/users/track", {"attributes": [ITEM]}, authorization=f"Bearer {key}")


def statuses(responses: list[Response]) -> list[int]:
    return [response.status for response in responses]


def test_it_allows_3000_calls_in_any_3_seconds_1_5(braze: Braze) -> None:
    assert set(statuses([track(braze) for _ in range(1_500)])) == {201}
    braze.clock.advance(2)
    assert set(statuses([track(braze) for _ in range(1_500)])) == {201}
    assert track(braze).status == 429
    braze.clock.advance(0.999)
    assert track(braze).status == 429, "a fixed window would have started anew"
    braze.clock.advance(0.002)
    assert set(statuses([track(braze) for _ in range(1_500)])) == {201}
    assert track(braze).status == 429


def test_it_gives_each_key_its_own_budget() -> None:
    braze = Braze(track_limit=Limit(1, 3.0))
    assert statuses([track(braze, "one"), track(braze, "two"), track(braze, "one")]) == [201, 201, 429]


def test_it_limits_deletes_and_exports_apart_1_5() -> None:
    braze = Braze(track_limit=Limit(1, 3.0), delete_limit=Limit(2, 60.0), export_limit=Limit(3, 60.0))
    assert statuses([braze.delete("u") for _ in range(3)]) == [201, 201, 429]
    exports = [braze.post("/users/export/ids", {"external_ids": ["u"]}) for _ in range(4)]
    assert statuses(exports) == [201, 201, 201, 429]
    assert track(braze).status == 201
    braze.clock.advance(60.001)
    assert braze.delete("u").status == 201


def test_it_has_braze_s_limits_by_default_1_5(braze: Braze) -> None:
    options = braze.sandbox.options
    limits = (options.track_limit, options.delete_limit, options.export_limit)
    assert [(limit.calls, limit.seconds) for limit in limits] == [(3_000, 3.0), (20_000, 60.0), (250, 60.0)]


def test_it_resets_the_hourly_cap_on_the_clock_hour_1_5() -> None:
    braze = Braze(hourly_limit=2)
    braze.clock.now = 1_795_003_200.0 - 1  # a second before an hour begins
    assert braze.clock.now % 3600 == 3599
    for seconds in (1, 3600, 3600):
        assert statuses([track(braze) for _ in range(3)]) == [201, 201, 429]
        braze.clock.advance(seconds)
    assert track(braze).status == 201


def test_it_counts_no_refused_key_against_the_limit() -> None:
    braze = Braze(track_limit=Limit(1, 3.0))
    assert statuses([track(braze, "invalid"), track(braze), track(braze)]) == [401, 201, 429]


def test_it_names_the_limit_in_epoch_headers_1_6() -> None:
    braze = Braze(track_limit=Limit(2, 3.0))
    accepted, _, refused = track(braze), track(braze), track(braze)
    assert accepted.headers == {
        "X-RateLimit-Limit": "2",
        "X-RateLimit-Remaining": "1",
        "X-RateLimit-Reset": str(int(START) + 4),
    }
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    braze.clock.now = float(refused.headers["X-RateLimit-Reset"])
    assert track(braze).status == 201, "at the time it named, the client may call again"


def test_it_names_seconds_and_replaces_them_on_429_1_6() -> None:
    braze = Braze(track_limit=Limit(1, 3.0), rate_headers="seconds")
    accepted = track(braze)
    assert accepted.headers == {"X-RateLimit-Limit": "1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3"}
    braze.clock.advance(0.5)
    refused = track(braze)
    assert refused.headers == {"X-Ratelimit-Retry-After": "3"}
    braze.clock.advance(float(refused.headers["X-Ratelimit-Retry-After"]))
    assert track(braze).status == 201


def test_it_shows_the_hourly_window_where_there_is_one_1_6() -> None:
    braze = Braze(hourly_limit=10, rate_headers="seconds")
    headers = track(braze).headers
    assert headers["X-RateLimit-Limit"] == "10"
    assert int(headers["X-RateLimit-Reset"]) == 3600 - int(START) % 3600


def test_it_leaves_the_headers_empty_on_401_1_6(braze: Braze) -> None:
    assert track(braze, "invalid").headers == {
        "X-RateLimit-Limit": "",
        "X-RateLimit-Remaining": "",
        "X-RateLimit-Reset": "",
    }


@pytest.mark.parametrize(
    ("style", "headers"),
    [
        ("seconds", {"X-Ratelimit-Retry-After": "6"}),
        ("epoch", {"X-RateLimit-Limit": "0", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(START) + 6)}),
    ],
)
def test_it_words_a_429_asked_for_like_its_own(style: str, headers: dict[str, Any]) -> None:
    braze = Braze(rate_headers=style, faults=[{"status": 429, "retry_after": 5.0}])
    assert track(braze).headers == headers

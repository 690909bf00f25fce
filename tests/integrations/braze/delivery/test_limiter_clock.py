"""The limiter while Redis' clock jumps: it goes on within moments, and grants no more than it would have.

No clock is moved here: a clock that went back by an hour leaves the same state as one that stood an hour ahead.
"""

import pytest

from integrations.braze.delivery import connection, limiter
from integrations.braze.delivery.limiter import Limit
from tests.integrations.braze.delivery.limits import (
    HOUR,
    away_from_the_turn_of_the_hour,
    hour_key,
    limit,
    never,
    next_free_us,
    reserve,
    server_us,
    slot_key,
)

pytestmark = pytest.mark.usefixtures("redis_client")


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour counts as begun where it lacks no more than a step: with the usual minute, these would fail in the last
    one of each hour, as no clock is moved here.
    """
    monkeypatch.setattr(limiter, "STEP_SECONDS", 1)


def clock_goes(of: Limit, seconds: int) -> None:
    """What was written is as if the clock had stood elsewhere then: back is negative."""
    redis = connection.client()
    if stored := redis.get(slot_key(of)):
        assert isinstance(stored, bytes)
        slot, moment, *spacing = map(int, stored.split())
        moved = (slot - seconds * 1_000_000, moment - seconds * 1_000_000, *spacing)
        redis.set(slot_key(of), " ".join(map(str, moved)))
    for name in ("hour", "latest"):
        if hour := redis.hget(hour_key(of), name):
            redis.hset(hour_key(of), name, int(hour) - seconds // HOUR)


@pytest.mark.parametrize("seconds", [-1, -60, -HOUR, -24 * HOUR])
def test_a_clock_that_goes_back_holds_up_nobody(seconds: int) -> None:
    of = limit(calls=3000, window=3)
    assert reserve(of).is_granted
    clock_goes(of, seconds)
    slots = limiter.reserve(of, never, wanted=10)
    assert slots.granted == 10
    assert slots.wait_seconds <= of.ahead_seconds


@pytest.mark.parametrize("seconds", [-1, -HOUR, HOUR])
def test_a_clock_that_jumps_brings_no_slot_forward(seconds: int) -> None:
    """But for those that a Redis which forgets would grant again, too."""
    of = limit(calls=3000, window=3)
    while reserve(of).is_granted:
        pass
    before = server_us()
    last = next_free_us(of)
    clock_goes(of, seconds)
    first = reserve(of)
    if seconds > 0:
        assert last - before <= of.ahead_seconds * 1_000_000 + of.spacing_us
    elif first.is_granted:
        assert first.wait_seconds * 1_000_000 >= last - server_us() - of.spacing_us
    else:
        assert first.wait_seconds * 1_000_000 >= of.ahead_seconds * 1_000_000


def test_a_wait_goes_by_after_a_clock_went_back() -> None:
    """Also where nobody gets a slot meanwhile: else it began anew each time somebody asks, until the old time."""
    of = limit(calls=1, window=10)
    assert not reserve(of).is_granted
    clock_goes(of, -HOUR)
    first, second = reserve(of), reserve(of)
    assert not first.is_granted
    assert second.wait_seconds < first.wait_seconds <= of.spacing_us / 1_000_000


def test_a_clock_that_goes_back_keeps_small_limits_apart() -> None:
    """Where nothing is granted ahead of time, the next slot is still a whole spacing from the last one."""
    of = limit(calls=1, window=10)
    connection.client().set(slot_key(of), server_us())
    assert reserve(of).is_granted
    clock_goes(of, -HOUR)
    first, second = reserve(of), reserve(of)
    assert not first.is_granted
    assert 9 < second.wait_seconds <= first.wait_seconds <= 10 / 0.97 + 1e-6  # and time goes on


@pytest.mark.parametrize("seconds", [-60, -HOUR])
def test_a_clock_that_goes_back_neither_forgets_nor_lengthens_what_braze_asked_for(seconds: int) -> None:
    of = limit()
    limiter.defer(of, 30)
    clock_goes(of, seconds)
    assert 28 < reserve(of).wait_seconds <= 30
    clock_goes(of, seconds)
    limiter.defer(of, 5)
    assert 28 < reserve(of).wait_seconds <= 30


def test_an_hour_that_has_yet_to_come_is_counted_from_the_ledger() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert limiter.reserve(of, lambda: 0, wanted=50).granted == 5
    clock_goes(of, -HOUR)
    assert limiter.reserve(of, lambda: 2, wanted=50).granted == 3
    assert not limiter.reserve(of, never).is_granted


@pytest.mark.parametrize("there_and_back", [(-HOUR, HOUR), (HOUR, -HOUR), (-2 * HOUR, 2 * HOUR)])
def test_an_hour_that_comes_again_is_counted_from_the_ledger(there_and_back: tuple[int, int]) -> None:
    """Else a clock that goes astray for a moment would grant the cap once more."""
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    used = limiter.reserve(of, lambda: 0, wanted=3).granted
    there, back = there_and_back
    clock_goes(of, there)
    used += limiter.reserve(of, lambda: used, wanted=1).granted
    clock_goes(of, back)
    used += limiter.reserve(of, lambda: used, wanted=50).granted
    assert used == 5
    assert not limiter.reserve(of, lambda: used).is_granted


def test_a_clock_that_steps_back_over_the_turn_of_an_hour_leaves_the_count_with_the_hour_that_had_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limiter, "STEP_SECONDS", HOUR)
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert limiter.reserve(of, lambda: 0, wanted=3).granted == 3
    clock_goes(of, -HOUR)
    assert limiter.reserve(of, never, wanted=50).granted == 2


def test_without_a_cap_a_count_of_another_hour_is_dropped() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    reserve(of)
    clock_goes(of, -HOUR)
    assert limiter.reserve(limit(calls=100_000, budget=of.budget), never).is_granted
    assert not connection.client().exists(hour_key(of))

"""The limiter on a real Redis: it denies, it spaces, it waits as Braze asks, and it fails closed."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pytest_django import Settings

from dev.ports import free_port
from integrations.braze.delivery import connection, limiter
from integrations.braze.delivery.limiter import Slots
from tests.integrations.braze.delivery.limits import (
    HOUR,
    hour_key,
    limit,
    never,
    next_free_us,
    reserve,
    server_us,
    slot_key,
    wait_until_server,
)

pytestmark = pytest.mark.usefixtures("redis_client")


# --- the window -----------------------------------------------------------------------------------------


def test_it_denies_once_the_wait_is_too_long() -> None:
    slow = limit(calls=10, window=10)
    connection.client().set(slot_key(slow), server_us())
    begun = server_us()
    assert reserve(slow) == Slots(1, 0.0)
    denied = reserve(slow)
    took = (server_us() - begun) / 1_000_000
    assert not denied.is_granted
    assert 1 / 0.97 - took <= denied.wait_seconds <= 1 / 0.97 + 1e-6


def test_it_charges_nothing_for_a_denied_slot() -> None:
    slow = limit(calls=1, window=10)
    connection.client().set(slot_key(slow), server_us())
    assert reserve(slow).is_granted
    free = next_free_us(slow)
    assert not any(reserve(slow).is_granted for _ in range(20))
    assert next_free_us(slow) == free


def test_it_grants_no_more_ahead_of_time_than_it_stays_below_the_limit() -> None:
    """What Redis forgets is granted again: it must fit into the rest."""
    of = limit(calls=3000, window=3)
    started = server_us()
    granted = sum(reserve(of).is_granted for _ in range(500))
    took = (server_us() - started) / 1_000_000
    spacing = 3 / 2910
    ahead = (90 - limiter.EDGES) * spacing
    assert of.ahead_seconds == pytest.approx(ahead, abs=1e-4)
    assert ahead / spacing - 1 <= granted <= (ahead + took) / spacing + 2


def test_it_begins_a_spacing_away_where_it_knows_of_no_earlier_slot() -> None:
    """The last slot, which Redis has forgotten, may have been a moment ago."""
    slow = limit(calls=2, window=1)
    assert not reserve(slow).is_granted
    assert 0 < next_free_us(slow) - server_us() <= slow.spacing_us


@given(st.integers(1, 10**5), st.integers(1, 60), st.floats(0, 1), st.booleans())
def test_slots_that_redis_forgets_fit_into_the_limit(
    calls: int, window: int, lost_at: float, is_rollback: bool
) -> None:
    """The fullest window around a moment when Redis loses the line of slots, or is back at an older one."""
    of = limit(calls, window)
    spacing, window_us = of.spacing_us, window * 1_000_000
    lost_us = int(lost_at * window_us)
    last_handed_out = lost_us + int(of.ahead_seconds * 1_000_000)
    before = min(last_handed_out, window_us - 1) // spacing + 1  # from the window's first microsecond on
    begins_again = lost_us + (0 if is_rollback and of.ahead_seconds else spacing)
    after = (window_us - 1 - begins_again) // spacing + 1 if begins_again < window_us else 0
    assert before + after <= calls


@given(st.integers(1, 10**6), st.integers(1, 3600))
def test_it_spaces_slots_so_that_no_window_holds_one_too_many(calls: int, window: int) -> None:
    spacing = limit(calls, window).spacing_us
    assert spacing * calls > window * 1_000_000  # from the first to the one after the last allowed
    assert spacing <= window * 1_000_000 / (0.97 * calls) + 1  # and no slower than need be


@hypothesis.settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.sampled_from([0.2, 0.3, 0.4]))
def test_it_never_grants_more_than_the_limit_in_any_window_to_many_threads(calls: int, window: float) -> None:
    of = limit(calls, window)

    def grant(_: int) -> tuple[float, float]:
        """The earliest and the latest moment, on the server's clock, that a slot can be."""
        while True:
            before, slot, after = server_us(), reserve(of), server_us()
            wait = slot.wait_seconds * 1_000_000
            if slot.is_granted:
                return before + wait, after + wait
            time.sleep(slot.wait_seconds - of.ahead_seconds)

    with ThreadPoolExecutor(8) as pool:
        granted = sorted(pool.map(grant, range(3 * calls)))
    for first in range(len(granted) - calls):
        one_too_many = granted[first : first + calls + 1]
        assert max(latest for _, latest in one_too_many) - one_too_many[0][0] > window * 1_000_000


def test_it_hands_out_each_slot_once_and_exactly_spaced() -> None:
    of = limit(calls=5820, window=60)
    limiter.defer(of, 0.6)  # far enough ahead for a slow machine
    begin = next_free_us(of)
    slots = []
    for _ in range(20):
        assert reserve(of).is_granted
        slots.append(next_free_us(of))
    assert [slot - begin for slot in slots] == [of.spacing_us * n for n in range(1, 21)]


def test_it_wastes_no_slot_that_went_by_and_saves_none_either() -> None:
    """After a pause the next slot is now, not one in the past: nothing piles up."""
    of = limit(calls=10, window=0.1)
    reserve(of)
    wait_until_server(next_free_us(of) + 50_000)
    before = server_us()
    assert reserve(of) == Slots(1, 0.0)
    assert next_free_us(of) >= before + of.spacing_us


def test_it_tells_the_moment_of_each_slot_and_waits_where_none_is_near() -> None:
    of, begun = limit(calls=10, window=1), time.monotonic()
    moments, following = [], []
    for _ in range(4):
        moments += limiter.acquire(of, never)
        following.append(next_free_us(of))
    assert len(moments) == 4
    assert all(later - earlier >= of.spacing_us for earlier, later in itertools.pairwise(following))
    for number, moment in enumerate(moments):  # an answer that was read late makes its moment later, never earlier
        assert moment >= begun + number * of.spacing_us / 1_000_000 - 0.001
    assert time.monotonic() >= moments[-1] - of.ahead_seconds


def test_it_hands_out_several_slots_at_once_a_spacing_apart() -> None:
    of = limit(calls=3000, window=3)
    begin = server_us()
    connection.client().set(slot_key(of), begin)
    moments = limiter.acquire(of, never, wanted=20)
    assert [round((later - earlier) * 1_000_000) for earlier, later in itertools.pairwise(moments)] == (
        [of.spacing_us] * 19
    )
    assert next_free_us(of) >= begin + 20 * of.spacing_us


def test_it_hands_out_no_more_at_once_than_are_near() -> None:
    of = limit(calls=3000, window=3)
    granted = limiter.reserve(of, never, wanted=1000).granted
    assert 0 < granted <= of.ahead_seconds * 1_000_000 / of.spacing_us + 1


def test_it_gives_up_where_the_slot_is_too_far_away() -> None:
    of = limit()
    limiter.defer(of, 5)
    begun = time.monotonic()
    assert not limiter.acquire(of, never)
    assert time.monotonic() - begun < 3


# --- 429 ------------------------------------------------------------------------------------------------


def test_it_defers_everybody_with_the_budget() -> None:
    of = limit()
    reserve(of)
    limiter.defer(of, 5)
    denied = limiter.reserve(of, never)
    assert not denied.is_granted
    assert 4 < denied.wait_seconds <= 5


def test_it_never_shortens_a_wait_nor_forgets_it_early() -> None:
    of = limit()
    limiter.defer(of, 300)
    limiter.defer(of, 3)
    assert 295 < limiter.reserve(of, never).wait_seconds <= 300
    assert connection.client().pttl(slot_key(of)) > 295_000


def test_it_leaves_no_key_behind_for_ever() -> None:
    of = limit(per_hour=10)
    reserve(of)
    assert 0 < connection.client().pttl(slot_key(of)) <= HOUR * 1000 + 2_100
    assert 0 < connection.client().ttl(hour_key(of)) <= 2 * HOUR
    limiter.defer(of, 60)
    assert 60_000 < connection.client().pttl(slot_key(of)) <= HOUR * 1000 + 62_000
    assert set(connection.client().keys()) == {slot_key(of).encode(), hour_key(of).encode()}


# --- Redis' bad days ------------------------------------------------------------------------------------


def test_it_survives_that_redis_forgets_its_scripts() -> None:
    of = limit()
    reserve(of)
    connection.client().script_flush()
    assert reserve(of).is_granted
    connection.client().script_flush()
    limiter.defer(of, 5)
    assert not reserve(of).is_granted


@pytest.fixture
def dead_redis(redis_client: "redis.Redis", settings: Settings) -> Iterator[None]:
    """This process' connection leads nowhere."""
    caches = (connection.client, connection.script)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.mark.usefixtures("dead_redis")
def test_it_grants_nothing_without_redis() -> None:
    with pytest.raises(redis.ConnectionError):
        limiter.reserve(limit(), never)
    with pytest.raises(redis.ConnectionError):
        limiter.defer(limit(), 1)

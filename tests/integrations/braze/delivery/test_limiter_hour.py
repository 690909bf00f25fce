"""The hourly cap: counted by the clock hour, from the ledger where Redis knows nothing, and never exceeded."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from integrations.braze.delivery import connection, limiter
from tests.integrations.braze.delivery.limits import (
    HOUR,
    away_from_the_turn_of_the_hour,
    hour_key,
    limit,
    never,
    reserve,
    server_us,
    slot_key,
)

pytestmark = pytest.mark.usefixtures("redis_client")


def test_it_stops_at_the_hourly_cap_until_the_hour_is_over() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert [reserve(of).is_granted for _ in range(7)] == [True] * 5 + [False] * 2
    left = HOUR - server_us() / 1_000_000 % HOUR
    assert reserve(of).wait_seconds == pytest.approx(left, abs=1)


def test_it_counts_what_the_ledger_knows_where_redis_knows_nothing() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert [reserve(of, used=3).is_granted for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("used", [0, 5, 500])
def test_it_asks_the_ledger_just_once(used: int) -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    reserve(of, used)
    limiter.reserve(of, never)


def test_it_asks_the_ledger_just_once_even_if_no_slot_is_near() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(per_hour=5)
    limiter.defer(of, 2)
    assert not reserve(of, used=1).is_granted
    assert not limiter.reserve(of, never).is_granted


def test_it_is_seeded_once_however_many_ask_at_the_same_time() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=1_000_000, per_hour=50)
    with ThreadPoolExecutor(8) as pool:
        granted = sum(slot.is_granted for slot in pool.map(lambda _: reserve(of, used=30), range(100)))
    assert granted == 20


def test_it_never_asks_the_ledger_where_there_is_no_cap() -> None:
    of = limit()
    assert all(limiter.reserve(of, never).is_granted for _ in range(3))


def test_it_starts_every_hour_anew_without_asking_the_ledger() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=2)
    reserve(of, used=2)
    assert not limiter.reserve(of, never).is_granted
    last_hour = server_us() // 1_000_000 // HOUR - 1
    connection.client().hset(hour_key(of), mapping={"hour": last_hour, "latest": last_hour})
    assert [limiter.reserve(of, never).is_granted for _ in range(3)] == [True, True, False]


def test_it_charges_a_slot_to_the_hour_in_which_it_lies() -> None:
    """A slot reserved in the last second of an hour for the next one counts there: Braze sees it there."""
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=3)
    reserve(of)
    this_hour = server_us() // 1_000_000 // HOUR
    connection.client().hset(hour_key(of), mapping={"hour": this_hour - 1, "latest": this_hour - 1, "used": 3})
    assert reserve(of).is_granted
    assert connection.client().hmget(hour_key(of), "hour", "used") == [str(this_hour).encode(), b"1"]


def test_it_lets_those_start_who_have_a_slot_before_it_asks_the_ledger(redis_client: "redis.Redis") -> None:
    """Else a Redis that forgot the hour just before its cap would grant again what waiting senders are about to use."""
    of = limit(calls=3000, per_hour=100)
    waits = [reserve(of).wait_seconds for _ in range(50)]
    last_slot = time.monotonic() + max(waits)
    redis_client.flushdb()
    asked: list[float] = []
    limiter.reserve(of, lambda: asked.append(time.monotonic()) or 0)
    assert asked[0] > last_slot


def test_it_asks_the_ledger_again_after_a_restart_which_may_have_lost_a_second() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert reserve(of).is_granted
    connection.client().hset(hour_key(of), mapping={"used": 0, "server": "the run before the restart"})
    assert not reserve(of, used=5).is_granted
    assert not limiter.reserve(of, never).is_granted


def test_it_counts_those_without_a_cap_against_the_cap_of_who_shares_their_key() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=5)
    assert reserve(of).is_granted
    uncapped = limit(calls=100_000, budget=of.budget)
    assert all(limiter.reserve(uncapped, never).is_granted for _ in range(10))
    assert not limiter.reserve(of, never).is_granted


def test_it_lives_by_redis_clock_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines whose clocks are hours apart share one cap."""
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=4)
    granted = 0
    for hours_off in (0, -1, 1, 24):
        monkeypatch.setattr(time, "time", lambda off=hours_off, now=time.time: now() + off * HOUR)
        granted += sum(reserve(of).is_granted for _ in range(4))
        monkeypatch.undo()
    assert granted == 4


def test_it_hands_out_no_more_at_once_than_the_hour_has_left() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=7)
    assert limiter.reserve(of, lambda: 4, wanted=50).granted == 3
    assert not limiter.reserve(of, never, wanted=50).is_granted


def test_it_charges_slots_of_the_next_hour_to_that_one() -> None:
    """The cap of an hour that is over says nothing about the slots after it."""
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=3)
    reserve(of)
    hour = server_us() // 1_000_000 // HOUR
    connection.client().hset(hour_key(of), mapping={"hour": hour - 1, "latest": hour - 1, "used": 2})
    assert limiter.reserve(of, never, wanted=50).granted == 3
    assert connection.client().hmget(hour_key(of), "hour", "used") == [str(hour).encode(), b"3"]


def test_a_cap_of_one_is_one_an_hour() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=1)
    assert limiter.reserve(of, lambda: 0, wanted=5).granted == 1
    assert not limiter.reserve(of, never).is_granted


@pytest.mark.parametrize("cap", [1, 5])
def test_what_lies_in_an_hour_that_was_counted_before_is_handed_out_apart(
    cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the ledger knows of that hour is asked only once nothing of the hour before it is left to hand out."""
    monkeypatch.setattr(limiter, "LONGEST_WAIT_SECONDS", 4 * HOUR)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # before the ledger is asked: these slots are hours apart
    away_from_the_turn_of_the_hour()
    of = limit(calls=200, window=194 * HOUR, per_hour=cap)
    reserve(of)
    this_hour = server_us() // 1_000_000 // HOUR
    connection.client().hset(hour_key(of), mapping={"hour": this_hour, "used": 0, "latest": this_hour + 1})
    connection.client().set(slot_key(of), server_us())
    assert limiter.reserve(of, never, wanted=3).granted == 1
    asked: list[bool] = []
    assert limiter.reserve(of, lambda: asked.append(True) or 0).is_granted
    assert asked


def test_an_hour_that_comes_again_and_is_full_is_asked_of_the_ledger_once() -> None:
    away_from_the_turn_of_the_hour()
    of = limit(calls=100_000, per_hour=3)
    reserve(of)
    hour = server_us() // 1_000_000 // HOUR
    connection.client().hset(hour_key(of), mapping={"hour": hour - 1, "latest": hour})
    assert not reserve(of, used=3).is_granted
    assert not limiter.reserve(of, never).is_granted


@pytest.fixture
def restricted(redis_client: Any, settings: Any) -> Iterator[None]:
    """Our user of Redis may do nothing that counts as dangerous, as on many shared servers: INFO is among that."""
    redis_client.acl_setuser("restricted", enabled=True, nopass=True, keys=["*"], categories=["+@all", "-@dangerous"])
    settings.REDIS_URL = settings.REDIS_URL.replace("redis://", "redis://restricted:any@")
    forget_connections()
    yield
    forget_connections()
    redis_client.acl_deluser("restricted")


def forget_connections() -> None:
    connection.client.cache_clear()
    connection.script.cache_clear()


@pytest.mark.usefixtures("restricted")
def test_it_holds_where_redis_does_not_say_which_run_of_it_counted() -> None:
    """Accounts with an hourly cap stood still, as each of their slots was refused."""
    of = limit(calls=100_000, per_hour=5)
    away_from_the_turn_of_the_hour()
    assert reserve(of, used=3).is_granted
    assert limiter.reserve(of, never, wanted=5).granted == 1
    assert not limiter.reserve(of, never).is_granted

"""A Redis that is down, hangs or is full neither slows nor fails a save, and loses nothing."""

import statistics
from collections.abc import Callable

import pytest
import redis

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.shop import Shop

pytestmark = pytest.mark.e2e

ROUNDS = 7
SAVES = 100


def stop_redis(stack: Stack) -> None:
    stack.stop("redis")


def freeze_redis(stack: Stack) -> None:
    stack.freeze("redis")


def start_redis(stack: Stack) -> None:
    stack.start_redis()


def thaw_redis(stack: Stack) -> None:
    stack.thaw("redis")


def fill_redis(stack: Stack) -> None:
    """It refuses whatever would take memory: from tasks to slots of the limiter."""
    redis.Redis(port=stack.redis_port).config_set("maxmemory", 1)


def empty_redis(stack: Stack) -> None:
    redis.Redis(port=stack.redis_port).config_set("maxmemory", 0)


def refusals(stack: Stack) -> int:
    """How often a full Redis has said so."""
    told = redis.Redis(port=stack.redis_port).info("errorstats").get("errorstat_OOM", {})
    return int(told.get("count", 0))


OUTAGES = pytest.mark.parametrize(
    ("begin", "end"),
    [(stop_redis, start_redis), (freeze_redis, thaw_redis), (fill_redis, empty_redis)],
    ids=["stopped", "hanging", "full"],
)
Outage = Callable[[Stack], None]


@OUTAGES
def test_it_saves_as_fast_without_redis_as_with_it(stack: Stack, shop: Shop, begin: Outage, end: Outage) -> None:
    shop.save_customers(SAVES, "warm-up")
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    # In turns, so that whatever else the machine does meanwhile slows both alike.
    for number in range(ROUNDS):
        seconds["with"].append(shop.save_customers(SAVES, f"with{number}"))
        begin(stack)
        seconds["without"].append(shop.save_customers(SAVES, f"without{number}"))
        end(stack)
    medians = {phase: statistics.median(times) for phase, times in seconds.items()}
    print(f"seconds to save {SAVES} customers, median of {ROUNDS}: {medians}")
    assert medians["without"] < 1.5 * medians["with"], seconds
    stack.start(*WORKERS)
    everyone = SAVES * (1 + 2 * ROUNDS)
    wait_until(lambda: stack.sandbox.summary()["profiles"] == everyone, "all customers", timeout=60)


@OUTAGES
def test_it_delivers_what_was_saved_meanwhile_once_redis_is_back(
    stack: Stack, shop: Shop, begin: Outage, end: Outage
) -> None:
    stack.start(*WORKERS)
    shop.save_customers(50, "before")
    wait_until(lambda: stack.sandbox.summary()["profiles"] == 50, "the customers before")
    begin(stack)
    shop.save_customers(SAVES, "during")
    end(stack)
    wait_until(lambda: shop.status()["delivered"] == 50 + SAVES, "all to be settled", timeout=60, every=0.2)
    status = shop.status()
    assert stack.sandbox.summary()["profiles"] == 50 + SAVES
    assert (status["pending"], status["buffered"], status["unknown"]) == (0, 0, 0)


def test_workers_that_find_redis_full_go_on_once_it_is_not(stack: Stack, shop: Shop) -> None:
    """Each of them, and the beat, is refused for seconds: none of them ends by that."""
    stack.start(*WORKERS)
    shop.save_customers(1, "before")
    wait_until(lambda: shop.status()["delivered"] == 1, "the customer before")
    fill_redis(stack)
    before = refusals(stack)
    shop.save_customers(SAVES, "during")
    wait_until(lambda: refusals(stack) >= before + 20, "Redis to refuse")
    assert [name for name in WORKERS if stack.processes[name].poll() is not None] == []
    empty_redis(stack)
    wait_until(lambda: shop.status()["delivered"] == 1 + SAVES, "all to be settled", every=0.2)
    assert stack.sandbox.summary()["profiles"] == 1 + SAVES


def test_no_worker_starts_on_a_redis_that_evicts(stack: Stack) -> None:
    """It would drop tasks and slots in silence. One that was there before has to be stopped by a person."""
    redis.Redis(port=stack.redis_port).config_set("maxmemory-policy", "allkeys-lru")
    workers = [name for name in WORKERS if name != "beat"]
    stack.start(*workers)
    for name in workers:
        assert stack.processes[name].wait(30) == 1
        assert "maxmemory-policy allkeys-lru" in (stack.directory / f"{name}.log").read_text()

"""A Redis that is down, hangs, is full or refuses writes neither slows nor fails a save, and loses nothing."""

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


def refuse_writes(stack: Stack) -> None:
    """It cannot save its snapshot, since a folder is in the way, and refuses to hand out messages, too."""
    (stack.directory / "redis" / "dump.rdb" / "in-the-way").mkdir(parents=True)
    client = redis.Redis(port=stack.redis_port)
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot to fail")


def accept_writes(stack: Stack) -> None:
    redis.Redis(port=stack.redis_port).config_set("save", "")


def become_replica(stack: Stack) -> None:
    """Of a server that does not answer; it refuses whoever reads a queue, as that would take something out."""
    redis.Redis(port=stack.redis_port).replicaof("127.0.0.1", 1)


def become_master(stack: Stack) -> None:
    redis.Redis(port=stack.redis_port).replicaof("NO", "ONE")


def refusals(stack: Stack) -> int:
    """How often Redis has said that it is full, cannot save its snapshot, or is a replica."""
    told = redis.Redis(port=stack.redis_port).info("errorstats")
    return sum(int(told.get(f"errorstat_{name}", {}).get("count", 0)) for name in ("OOM", "MISCONF", "READONLY"))


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


REFUSALS = pytest.mark.parametrize(
    ("begin", "end"),
    [(fill_redis, empty_redis), (refuse_writes, accept_writes), (become_replica, become_master)],
    ids=["full", "without a snapshot", "a replica"],
)


@REFUSALS
def test_workers_that_redis_refuses_go_on_once_it_does_not(
    stack: Stack, shop: Shop, begin: Outage, end: Outage
) -> None:
    """Each of them, and the beat, is refused for seconds: none of them ends by that."""
    stack.start(*WORKERS)
    shop.save_customers(1, "before")
    wait_until(lambda: shop.status()["delivered"] == 1, "the customer before")
    begin(stack)
    before = refusals(stack)
    shop.save_customers(SAVES, "during")
    wait_until(lambda: refusals(stack) >= before + 20, "Redis to refuse")
    assert [name for name in WORKERS if stack.processes[name].poll() is not None] == []
    end(stack)
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

"""Faults injected while the workload runs: a seed decides which, and how much progress lies between them."""

import random
import time
from collections.abc import Callable

import redis

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until

Fault = Callable[[Stack, random.Random], None]


def kill_worker(stack: Stack, chance: random.Random) -> None:
    name = chance.choice(WORKERS)
    stack.kill(name)
    stack.start(name)


def kill_all_workers(stack: Stack, chance: random.Random) -> None:
    stack.kill(*WORKERS)
    stack.start(*WORKERS)


def stop_worker(stack: Stack, chance: random.Random) -> None:
    name = chance.choice(WORKERS)
    stack.stop(name)
    stack.start(name)


def wipe_redis(stack: Stack, chance: random.Random) -> None:
    redis.Redis(port=stack.redis_port).flushall()


def kill_redis(stack: Stack, chance: random.Random) -> None:
    stack.kill("redis")
    progress(stack, 1, 0.5)
    stack.start_redis()


def freeze_redis(stack: Stack, chance: random.Random) -> None:
    stack.freeze("redis")
    progress(stack, 1_000_000, 1.5)
    stack.thaw("redis")


def wrong_answers(stack: Stack, chance: random.Random) -> None:
    stack.sandbox.set_faults({"status": chance.choice([500, 502, 503]), "times": chance.randint(1, 4)})


def too_many(stack: Stack, chance: random.Random) -> None:
    stack.sandbox.set_faults({"status": 429, "retry_after": 1, "times": chance.randint(1, 3)})


def lost_answers(stack: Stack, chance: random.Random) -> None:
    kind = chance.choice([{"close": "before"}, {"close": "after"}, {"truncate": True}, {"status": 504, "apply": True}])
    stack.sandbox.set_faults({**kind, "times": chance.randint(1, 3)})


def random_failures(stack: Stack, chance: random.Random) -> None:
    stack.sandbox.set_faults({"status": 503, "rate": 0.3, "seed": chance.randrange(1_000), "times": 10})


def slow_answers(stack: Stack, chance: random.Random) -> None:
    stack.sandbox.set_faults({"latency": [0.05, 0.6]})


def fine_again(stack: Stack, chance: random.Random) -> None:
    stack.sandbox.set_faults()


FAULTS: dict[Fault, float] = {
    kill_worker: 3,
    kill_all_workers: 1,
    stop_worker: 1.5,
    wipe_redis: 2,
    kill_redis: 1,
    freeze_redis: 1,
    wrong_answers: 3,
    too_many: 1,
    lost_answers: 4,
    random_failures: 1,
    slow_answers: 2,
    fine_again: 2,
}


def inject(stack: Stack, seed: int, is_over: Callable[[], bool]) -> list[str]:
    """One fault after the other until the workload is over; their names."""
    chance, injected = random.Random(seed), []
    while not is_over():
        progress(stack, chance.randint(1, 12), chance.uniform(0.2, 1.5))
        (fault,) = chance.choices(list(FAULTS), list(FAULTS.values()))
        fault(stack, chance)
        injected.append(fault.__name__)
    return injected


def heal(stack: Stack) -> None:
    """Everything runs and answers; what the faults have left is the product's to mend."""
    stack.sandbox.set_faults()
    missing = [name for name in ("redis", *WORKERS) if name not in stack.processes]
    dead = [name for name, process in stack.processes.items() if process.poll() is not None]
    assert not missing + dead, f"not running: {missing + dead}"


def progress(stack: Stack, requests: int, seconds: float) -> None:
    """Wait until so many more requests reached the sandbox, or the time is up: some faults stop all progress."""
    before = _requests(stack)
    end = time.monotonic() + seconds
    wait_until(lambda: _requests(stack) >= before + requests or time.monotonic() > end, "progress", seconds + 5, 0.02)


def _requests(stack: Stack) -> int:
    return sum(stack.sandbox.summary()["requests"].values())

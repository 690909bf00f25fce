"""Faults injected while the workload runs: a seed decides which, and how much progress lies between them."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable

from tests.e2e.harness import clock, database, scenario
from tests.e2e.harness.progress import progress
from tests.e2e.harness.redis_faults import freeze_redis, kill_redis, lose_last_second, repeat_requests, wipe_redis
from tests.e2e.harness.stack import HURRIED, JUMPY, PROCESSES, RELAYS, SENDERS, TorturedStack

Fault = Callable[[TorturedStack, random.Random], None]

LEASE_SECONDS = float(HURRIED["BRAZE_LEASE_SECONDS"])


# --- processes ------------------------------------------------------------------------------------------


def kill_worker(stack: TorturedStack, chance: random.Random) -> None:
    name = chance.choice(PROCESSES)
    stack.kill(name)
    stack.start(name)


def kill_flush(stack: TorturedStack, chance: random.Random) -> None:
    """With requests in flight, whose answers nobody reads."""
    stack.set_faults({"latency": 0.4})
    progress(stack, 2, 1.5)
    stack.kill(*SENDERS)
    stack.set_faults()
    stack.start(*SENDERS)


def kill_all_workers(stack: TorturedStack, chance: random.Random) -> None:
    stack.kill(*PROCESSES)
    stack.start(*PROCESSES)


def stop_worker(stack: TorturedStack, chance: random.Random) -> None:
    name = chance.choice(PROCESSES)
    stack.terminate(name)
    stack.start(name)


def freeze_relay(stack: TorturedStack, chance: random.Random) -> None:
    """Stops a relay's processes while one of them holds a lease, until well after it has run out."""
    name = chance.choice(RELAYS)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        before = _leases(stack)
        stack.signal_children(name, signal.SIGSTOP)
        time.sleep(0.03)  # for those that still run to give their leases back
        if before & _leases(stack):
            progress(stack, 1_000_000, 1.5 * LEASE_SECONDS)
            end = 0
        stack.signal_children(name, signal.SIGCONT)


def freeze_flush(stack: TorturedStack, chance: random.Random) -> None:
    name = chance.choice(SENDERS)
    stack.freeze(name)
    progress(stack, 1_000_000, chance.uniform(0.5, 4))
    stack.thaw(name)


def jump_clock(stack: TorturedStack, chance: random.Random) -> None:
    """By an hour, forward or back, and not back again."""
    stack.jump(chance.choice(JUMPY), chance.choice([clock.FORWARD, clock.BACK]))


def crash_database(stack: TorturedStack, chance: random.Random) -> None:
    """PostgreSQL loses one of its processes, ends all others and recovers from its log; meanwhile it refuses."""
    mine = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    pids = [pid for (pid,) in database.rows(stack.database_url, mine)]
    with contextlib.suppress(ProcessLookupError, IndexError):  # connections may have been closed meanwhile
        os.kill(chance.choice(pids), signal.SIGKILL)
    progress(stack, 1_000_000, 1)


def _leases(stack: TorturedStack) -> set[tuple[object, ...]]:
    return set(database.rows(stack.database_url, "SELECT id, token FROM outbox_lease WHERE token IS NOT NULL"))


# --- Braze ----------------------------------------------------------------------------------------------


def wrong_answers(stack: TorturedStack, chance: random.Random) -> None:
    stack.set_faults({"status": chance.choice([500, 502, 503]), "times": chance.randint(1, 4)})


def too_many(stack: TorturedStack, chance: random.Random) -> None:
    stack.set_faults({"status": 429, "retry_after": 1, "times": chance.randint(1, 3)})


def lost_answers(stack: TorturedStack, chance: random.Random) -> None:
    kind = chance.choice([{"close": "before"}, {"close": "after"}, {"truncate": True}, {"status": 504, "apply": True}])
    stack.set_faults({**kind, "times": chance.randint(1, 4)})


def random_failures(stack: TorturedStack, chance: random.Random) -> None:
    stack.set_faults({"status": 503, "rate": 0.3, "seed": chance.randrange(1_000), "times": 10})


def slow_answers(stack: TorturedStack, chance: random.Random) -> None:
    stack.set_faults({"latency": [0.05, 0.6]})


def fine_again(stack: TorturedStack, chance: random.Random) -> None:
    stack.set_faults()


FAULTS: dict[Fault, float] = {
    kill_worker: 3,
    kill_flush: 4,
    kill_all_workers: 0.5,
    stop_worker: 1.5,
    freeze_relay: 3,
    freeze_flush: 1,
    jump_clock: 2,
    wipe_redis: 1.5,
    kill_redis: 1,
    freeze_redis: 1,
    lose_last_second: 1.5,
    repeat_requests: 3,
    crash_database: 1,
    wrong_answers: 2,
    too_many: 1,
    lost_answers: 4,
    random_failures: 1,
    slow_answers: 2,
    fine_again: 1,
}
#: Would make Braze answer 429 where it never must: by asking for it, and by requests that arrive all at once.
NOT_WHERE_LIMITED = (too_many, freeze_flush)


def inject(stack: TorturedStack, is_over: Callable[[], bool], often: str = "") -> list[str]:
    """One fault after the other until the workload is over, every third of them `often`; their names."""
    chance, injected = random.Random(stack.seed), []
    faults = dict(FAULTS)
    faults |= {fault: sum(FAULTS.values()) / 2 for fault in FAULTS if fault.__name__ == often}
    for fault in NOT_WHERE_LIMITED if scenario.is_limited(stack.seed) else ():
        del faults[fault]
    if not database.is_postgres(stack.database_url):
        del faults[crash_database]
    progress(stack, 1, 60)  # the accounts are there, and everything runs
    while not is_over():
        progress(stack, chance.randint(1, 12), chance.uniform(0.1, 1.0))
        (fault,) = chance.choices(list(faults), list(faults.values()))
        fault(stack, chance)
        injected.append(fault.__name__)
    return injected


def heal(stack: TorturedStack) -> None:
    """Everything runs and answers; what the faults have left is the product's to mend."""
    stack.set_faults()
    missing = [name for name in ("redis", *PROCESSES) if name not in stack.processes]
    dead = [name for name, process in stack.processes.items() if process.poll() is not None]
    if missing + dead:
        stack.complaints.append(f"processes: ended by themselves: {' '.join(missing + dead)}")

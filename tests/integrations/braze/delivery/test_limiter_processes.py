"""The limiter among many processes: never more than the limit in any window of the server's clock, and little less.

Run as a program it is one of those processes: it asks for slots for a while and prints between which moments on the
server's clock it asked, and for each slot granted the earliest and the latest moment that the slot can be.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from dev.ports import free_port
from dev.processes import ROOT, spawn, stop
from dev.redis_server import answers_ping, server_command
from dev.waiting import wait_until

CLIENTS, THREADS = 4, 2
#: A full queue ahead of every client: demand is there all the time.
CALLS, WINDOW_SECONDS, SECONDS = 150, 1.0, 3.0
SKEWS = (0.0, 3600.0, -3600.0, 86_400.0)

Grants = list[tuple[float, float]]
Asked = list[tuple[float, float]]


class Server:
    """A Redis of its own, which may be restarted; it keeps its data on disk, as ours do."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.start()

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port)

    def start(self) -> None:
        with (self.directory / "redis.log").open("ab") as log:
            self.process = spawn(server_command(self.port, self.directory), os.environ, log)
        wait_until(lambda: answers_ping(self.port), "Redis")

    def restart(self) -> None:
        stop([self.process])
        self.start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    stop([server.process])


@contextmanager
def clients(server: Server) -> Iterator[list["subprocess.Popen[bytes]"]]:
    env = {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{server.port}/0", "DJANGO_SETTINGS_MODULE": "settings.test"}
    command = [sys.executable, "-m", "tests.integrations.braze.delivery.test_limiter_processes"]
    running = [
        subprocess.Popen([*command, str(skew)], cwd=ROOT, env=env, stdout=subprocess.PIPE) for skew in SKEWS[:CLIENTS]
    ]
    try:
        wait_until(lambda: server.client.get("ready") == b"%d" % CLIENTS, "the clients", timeout=90)
        server.client.set("go", 1)
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.kill()


def granted(running: "list[subprocess.Popen[bytes]]") -> tuple[Grants, Asked]:
    outputs = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    grants = sorted((earliest, latest) for output in outputs for earliest, latest in output["grants"])
    return grants, sorted((before, after) for output in outputs for before, after in output["asked"])


def seconds_of_demand(grants: Grants, asked: Asked) -> float:
    """How long somebody was asking: where the machine let none of the clients run, slots go by and nobody is to blame.

    A pause costs nothing as long as slots are handed out ahead of time. How long it was, only the server knows: it is
    taken for as long as it can have been.
    """
    from integrations.braze.delivery.limiter import Limit

    ahead = Limit("", CALLS, WINDOW_SECONDS).ahead_seconds * 1_000_000
    begin, end = grants[0][0], grants[-1][0]
    pairs = ((earlier, later) for earlier, later in itertools.pairwise(asked) if begin < later[1] < end)
    pauses = (later[1] - earlier[0] - ahead for earlier, later in pairs)
    return (end - begin - sum(pause for pause in pauses if pause > 0)) / 1_000_000


def most_in_a_window(grants: Grants) -> int:
    """Counting only grants that lie in the window for certain, wherever between their bounds they are."""
    window = WINDOW_SECONDS * 1_000_000
    return max(sum(begin <= early and late < begin + window for early, late in grants) for begin, _ in grants)


def undisturbed(server: Server, running: "list[subprocess.Popen[bytes]]") -> None:
    """Only demand."""


def forget_scripts(server: Server, running: "list[subprocess.Popen[bytes]]") -> None:
    for _ in range(10):
        time.sleep(SECONDS / 12)
        server.client.script_flush()


def forget_everything(server: Server, running: "list[subprocess.Popen[bytes]]") -> None:
    """Once per window: what is granted ahead of time is granted again."""
    for _ in range(int(SECONDS / WINDOW_SECONDS) - 1):
        time.sleep(WINDOW_SECONDS)
        server.client.flushall()


def restart(server: Server, running: "list[subprocess.Popen[bytes]]") -> None:
    time.sleep(SECONDS / 2)
    server.restart()


def freeze_clients(server: Server, running: "list[subprocess.Popen[bytes]]") -> None:
    for process in running[:2]:
        process.send_signal(signal.SIGSTOP)
        time.sleep(SECONDS / 4)
        process.send_signal(signal.SIGCONT)


Disturbance = Callable[[Server, "list[subprocess.Popen[bytes]]"], None]


@pytest.mark.parametrize("disturb", [undisturbed, forget_scripts, forget_everything, restart, freeze_clients])
def test_it_never_grants_more_than_the_limit_and_little_less(server: Server, disturb: Disturbance) -> None:
    with clients(server) as running:
        disturb(server, running)
        grants, asked = granted(running)
    assert most_in_a_window(grants) <= CALLS
    assert len(grants) >= 0.95 * CALLS * seconds_of_demand(grants, asked) / WINDOW_SECONDS


def test_it_spreads_grants_over_the_window(server: Server) -> None:
    with clients(server) as running:
        grants, _ = granted(running)
    tenths = [int(early // (WINDOW_SECONDS * 100_000)) for early, _ in grants]
    for tenth in range(min(tenths) + 1, max(tenths)):
        assert tenths.count(tenth) <= 0.2 * CALLS


# --- a client -------------------------------------------------------------------------------------------


def ask(seconds: float) -> tuple[Grants, Asked]:
    """As a sender does: waits for its slot, then asks for the next one."""
    from integrations.braze.delivery import connection, limiter

    limit, end, grants, asked = limiter.Limit("shared", CALLS, WINDOW_SECONDS), time.monotonic() + seconds, [], []
    while time.monotonic() < end:
        try:
            before = moment(connection.client())
            slot = limiter.reserve(limit, lambda: 0)
            after = moment(connection.client())
        except redis.RedisError:
            time.sleep(0.01)
            continue
        asked.append((before, after))
        if slot.is_granted:
            grants.append((before + slot.wait_seconds * 1e6, after + slot.wait_seconds * 1e6))
        time.sleep(slot.wait_seconds)
    return grants, asked


def moment(client: "redis.Redis") -> float:
    """The server's clock in microseconds."""
    seconds, micros = client.time()
    return seconds * 1e6 + micros


def main() -> None:
    import django

    parser = argparse.ArgumentParser()
    parser.add_argument("skew", type=float)
    skew = parser.parse_args().skew
    django.setup()
    from integrations.braze.delivery import connection

    clock = time.time
    time.time = lambda: clock() + skew
    client = connection.client()
    client.incr("ready")
    wait_until(lambda: client.get("go"), "the others", every=0.01)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(ask, [SECONDS] * THREADS))
    grants, asked = (list(itertools.chain.from_iterable(lists)) for lists in zip(*found, strict=True))
    sys.stdout.write(json.dumps({"grants": grants, "asked": asked}))


if __name__ == "__main__":
    main()

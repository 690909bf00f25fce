"""The limiter among many processes: never more than the limit in any window of the server's clock, and nobody waits
for a slot that was free.

Run as a program it is one of those processes: it asks for slots for a while and prints, for each answer, the earliest
and the latest moment on the server's clock that the slot can be, how long it was to be waited for, and whether it was
granted.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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

#: Between two slots, in µs, as promised: 97 % of the limit is used.
SPACING = math.ceil(WINDOW_SECONDS * 1_000_000 / (0.97 * CALLS))


class Answer(NamedTuple):
    """To one request for a slot; times in µs on the server's clock."""

    earliest: float
    latest: float
    wait: float
    is_granted: bool


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
    command = [sys.executable, "-m", "tests.integrations.braze.test_limiter_processes"]
    running = [
        subprocess.Popen([*command, str(skew)], cwd=ROOT, env=env, stdout=subprocess.PIPE) for skew in SKEWS[:CLIENTS]
    ]
    try:
        wait_until(lambda: server.client.get("ready") == b"%d" % CLIENTS, "the clients")
        server.client.set("go", 1)
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.kill()


def answers_of(running: "list[subprocess.Popen[bytes]]") -> list[Answer]:
    outputs = [process.communicate(timeout=60)[0] for process in running]
    return sorted(Answer(*answer) for output in outputs for answer in json.loads(output))


def most_in_a_window(grants: list[Answer]) -> int:
    """Counting only grants that lie in the window for certain, wherever between their bounds they are."""
    window = WINDOW_SECONDS * 1_000_000
    begins = [grant.earliest for grant in grants]
    return max(sum(begin <= one.earliest and one.latest < begin + window for one in grants) for begin in begins)


def waited_in_vain(answers: list[Answer]) -> list[Answer]:
    """Those told to wait for longer than a spacing although nobody has the slot before theirs.

    A slot that went by unused because nobody asked, on a busy machine, is nobody's waste.
    """
    grants = [answer for answer in answers if answer.is_granted]
    return [one for one in answers if one.wait > SPACING + 1 and not any(_may_precede(grant, one) for grant in grants)]


def _may_precede(grant: Answer, other: Answer) -> bool:
    """Whether `grant` can be the slot just before the one of `other`."""
    return grant.earliest <= other.latest - SPACING + 1 and other.earliest - SPACING - 1 <= grant.latest


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
def test_it_never_grants_more_than_the_limit_and_lets_nobody_wait_in_vain(server: Server, disturb: Disturbance) -> None:
    with clients(server) as running:
        disturb(server, running)
        answers = answers_of(running)
    assert 0 < most_in_a_window([answer for answer in answers if answer.is_granted]) <= CALLS
    assert waited_in_vain(answers) == []


def test_it_spreads_grants_over_the_window(server: Server) -> None:
    with clients(server) as running:
        grants = [answer for answer in answers_of(running) if answer.is_granted]
    tenths = [int(grant.earliest // (WINDOW_SECONDS * 100_000)) for grant in grants]
    for tenth in range(min(tenths) + 1, max(tenths)):
        assert tenths.count(tenth) <= 0.2 * CALLS


# --- a client -------------------------------------------------------------------------------------------


def ask(seconds: float) -> list[Answer]:
    """As a sender does: waits for its slot, then asks for the next one."""
    from integrations.braze import connection, limiter

    limit, end, answers = limiter.Limit("shared", CALLS, WINDOW_SECONDS), time.monotonic() + seconds, []
    while time.monotonic() < end:
        try:
            before = moment(connection.client())
            slot = limiter.reserve(limit, lambda: 0)
            after = moment(connection.client())
        except redis.RedisError:
            time.sleep(0.01)
            continue
        wait = slot.wait_seconds * 1e6
        answers.append(Answer(before + wait, after + wait, wait, slot.is_granted))
        time.sleep(slot.wait_seconds)
    return answers


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
    from integrations.braze import connection

    clock = time.time
    time.time = lambda: clock() + skew
    client = connection.client()
    client.incr("ready")
    wait_until(lambda: client.get("go"), "the others", every=0.01)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for found in pool.map(ask, [SECONDS] * THREADS) for answer in found]
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main()

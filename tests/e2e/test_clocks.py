"""A worker whose clock jumps by an hour, forward and back, delivers as before, and so do the others."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.processes import ROOT, read_procfile
from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.harness import clock
from tests.e2e.shop import Shop

pytestmark = pytest.mark.e2e


class StackWithClocks(Stack):
    """Each worker has a wall clock of its own."""

    def start(self, *names: str) -> None:
        commands = read_procfile(ROOT / "Procfile")
        for name in names:
            self._spawn(name, f"{sys.executable} -m tests.e2e.harness.clock {commands[name]}")

    def jump(self, name: str, number: int) -> None:
        """The process and those it has started."""
        wait_until(lambda: clock.catches(self.processes[name].pid, number), f"the clock of {name}")
        os.killpg(self.processes[name].pid, number)


@pytest.fixture
def stack(tmp_path: Path, database_url: str | None) -> Iterator[StackWithClocks]:
    with StackWithClocks(tmp_path, database_url) as stack:
        stack.manage("migrate", "--verbosity", "0")
        yield stack
        stack.stop_all()
        print(stack.logs(lines=40))  # shown where the test has failed


def test_it_goes_on_whatever_one_worker_takes_the_time_to_be(stack: StackWithClocks, shop: Shop) -> None:
    stack.start(*WORKERS)
    shop.save_customers(1, "first")
    wait_until(lambda: shop.status()["delivered"] == 1, "the first customer", timeout=90)
    saved = 1
    for name in ("flush", "worker", "beat"):
        for hours, jump in ((1, clock.FORWARD), (0, clock.BACK), (-1, clock.BACK), (0, clock.FORWARD)):
            stack.jump(name, jump)
            stack.sandbox.set_faults({"status": 503, "times": 1})  # so that it takes a tick, and the probation
            shop.save_customers(1, f"{name}-{saved}")
            saved += 1
            wait_until(
                lambda expected=saved: shop.status()["delivered"] == expected,
                f"what was saved with the clock of {name} {hours} hours ahead",
            )

"""Accounts whose Braze hangs leave threads of their worker to its other tasks, and take turns with each other."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dev.waiting import wait_until
from integrations.braze import tasks
from integrations.braze.delivery import probes

pytestmark = pytest.mark.django_db

HANGING, SECOND, THIRD = 1, 2, 3


class Probing:
    """Probes that hang until they are told to go on; the ids of the accounts that were probed, in order."""

    def __init__(self) -> None:
        self.probed: list[int] = []
        self.goes_on = threading.Event()
        self._thread = threading.Thread(target=probes.run, args=(HANGING, self.probe))

    def probe(self, account_id: int) -> None:
        self.probed.append(account_id)
        if account_id == HANGING:
            assert self.goes_on.wait(10)
            raise ValueError("of this account alone")

    def begin(self) -> None:
        self._thread.start()
        wait_until(lambda: self.probed == [HANGING], "the first probe")

    def end(self) -> list[int]:
        self.goes_on.set()
        self._thread.join(10)
        return self.probed


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probing]:
    """In a worker of two threads, one of which may probe."""
    monkeypatch.setattr(probes, "_most", probes._most)
    probes.share(SimpleNamespace(concurrency=2))
    probing = Probing()
    probing.begin()
    yield probing
    probing.end()


def test_a_probe_that_hangs_keeps_others_from_the_rest_of_the_threads(probing: Probing) -> None:
    for account_id in (SECOND, THIRD, SECOND):
        probes.run(account_id, probing.probe)  # returns at once: its thread is free for other tasks
    assert probing.probed == [HANGING]
    assert probing.end() == [HANGING, SECOND, THIRD]
    assert probes._busy == 0


def test_who_has_waited_until_the_next_tick_is_left_to_it(probing: Probing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "FRESH_SECONDS", 0.0)
    probes.run(SECOND, probing.probe)
    wait_until(lambda: probes._waiting[SECOND] < time.monotonic(), "the clock", every=0.001)
    assert probing.end() == [HANGING]
    probes.run(SECOND, probing.probe)
    assert probing.probed == [HANGING, SECOND]


@pytest.mark.parametrize("concurrency, most", [(1, 1), (2, 1), (4, 3), (16, 12)])
def test_a_quarter_of_the_threads_is_left(monkeypatch: pytest.MonkeyPatch, concurrency: int, most: int) -> None:
    monkeypatch.setattr(probes, "_most", probes._most)
    probes.share(SimpleNamespace(concurrency=concurrency))
    assert probes._most == most


def test_probing_tasks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads were probing, and the data of deleted customers was not scrubbed for most of a minute."""
    monkeypatch.setattr(probes, "_most", 0)
    monkeypatch.setattr(probes, "_waiting", {})
    tasks.probe_account(SECOND)
    assert list(probes._waiting) == [SECOND]

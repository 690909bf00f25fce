"""A backlog's work gives way to others' by the operating system's own means."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from billiard.process import current_process
from django.db import connection

from integrations.outbox import low_priority
from masivo_braze.loyalty.models import Account

ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has priorities of threads")


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def _in_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_process(), "index", 1, raising=False)


@linux
@pytest.mark.usefixtures("_in_a_pool")
def test_its_thread_and_those_it_starts_have_a_low_priority_and_no_other_thread_has() -> None:
    def work() -> tuple[int, int]:
        started: list[int] = []
        thread = threading.Thread(target=lambda: started.append(niceness()))
        thread.start()
        thread.join()
        return niceness(), started[0]

    before = niceness()
    lower = min(before + low_priority.NICENESS, 19)
    assert low_priority.run(work) == (lower, lower)
    assert low_priority.run(work) == (lower, lower)
    assert niceness() == before


@pytest.mark.usefixtures("_in_a_pool")
def test_it_raises_what_the_work_raises() -> None:
    def work() -> None:
        raise ValueError("none left")

    with pytest.raises(ValueError, match="none left"):
        low_priority.run(work)


@pytest.mark.usefixtures("_in_a_pool")
@pytest.mark.django_db(transaction=True)
def test_it_goes_on_after_its_connection_was_lost(account: Account) -> None:
    def names() -> list[str]:
        return [each.name for each in Account.objects.all()]

    def lose_connection() -> None:
        connection.ensure_connection()
        connection.errors_occurred = True  # as after a failed statement
        connection.connection.close()

    try:
        assert low_priority.run(names) == [account.name]
        low_priority.run(lose_connection)
        assert low_priority.run(names) == [account.name]
    finally:
        low_priority.run(lambda: connection.close())


def test_outside_a_pool_of_processes_the_work_is_simply_done() -> None:
    assert low_priority.run(threading.get_native_id) == threading.get_native_id()


@pytest.mark.parametrize("procfile", ["Procfile", "Procfile.dev"])
def test_the_worker_of_backlogs_has_a_low_priority(procfile: str) -> None:
    (line,) = (each for each in (ROOT / procfile).read_text().splitlines() if each.startswith("backlog: "))
    prefix, _, _ = line.removeprefix("backlog: ").partition("celery ")
    told = subprocess.run([*prefix.split(), "nice"], capture_output=True, text=True, check=True).stdout
    assert int(told) == min(niceness() + low_priority.NICENESS, 19)

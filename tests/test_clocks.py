"""Messages expire by the broker's clock, and the beat counts seconds: no machine's wall clock can upset them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from celery.beat import Scheduler
from celery.worker.state import revoked
from django.conf import settings
from kombu import Connection

from integrations.braze import tasks
from masivo_braze import clocks
from masivo_braze.celery import app
from masivo_braze.clocks import BrokerClock
from masivo_braze.requests import HintRequest

HOUR = 3_600
OFF = pytest.mark.parametrize("off", [-HOUR, -60, 0, 60, HOUR])


STARTED = time.time() - time.monotonic()


def true_time() -> float:
    return STARTED + time.monotonic()


@contextmanager
def wall_clock(off: float) -> Iterator[None]:
    """This process' wall clock, so many seconds from the true time."""
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=off), tick=True):
        yield


@pytest.fixture
def broker_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A broker whose clock is right."""
    clock = BrokerClock(true_time)
    monkeypatch.setattr(app, "_broker_clock", clock)
    yield


def published(task: Any, expires: float) -> dict[str, Any]:
    headers: dict[str, Any] = app.amqp.as_task_v2("id", task.name, expires=expires).headers
    return headers


def is_expired(headers: dict[str, Any]) -> bool:
    request = HintRequest.__new__(HintRequest)
    request._app, request._expires = app, datetime.fromisoformat(headers["expires"])
    request.id = headers["id"]
    revoked.discard("id")
    return bool(request.maybe_expire()) and "id" in revoked


@OFF
@pytest.mark.usefixtures("broker_time")
def test_a_worker_takes_a_fresh_message_whatever_its_wall_clock_says(off: float) -> None:
    headers = published(tasks.flush, 2)
    with wall_clock(off):
        assert not is_expired(headers)


@OFF
@pytest.mark.usefixtures("broker_time")
def test_a_message_is_fresh_whatever_the_wall_clock_of_its_publisher_says(off: float) -> None:
    with wall_clock(off):
        headers = published(tasks.flush, 2)
    assert not is_expired(headers)


@OFF
@pytest.mark.usefixtures("broker_time")
def test_a_stale_message_is_dropped_whatever_the_wall_clock_says(off: float) -> None:
    headers = published(tasks.flush, -1)
    with wall_clock(off):
        assert is_expired(headers)


@pytest.mark.parametrize(
    "task", [tasks.relay, tasks.flush, tasks.flush_account, tasks.flush_backlog, tasks.probe_account, tasks.tell]
)
def test_every_task_of_ours_is_taken_that_way(task: Any) -> None:
    assert task.Request == "masivo_braze.requests:HintRequest"


def test_it_looks_at_the_brokers_clock_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [1_000.0, 2_000.0]
    clock = BrokerClock(lambda: told.pop(0))
    assert clock.now().timestamp() == pytest.approx(1_000, abs=1)
    assert clock.now().timestamp() == pytest.approx(1_000, abs=1)
    monkeypatch.setattr(clocks, "COMPARED_FOR_SECONDS", -1.0)
    assert clock.now().timestamp() == pytest.approx(2_000, abs=1)


def test_a_broker_that_does_not_answer_leaves_the_last_comparison_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [1_000.0]
    clock = BrokerClock(lambda: told.pop(0))
    clock.now()
    monkeypatch.setattr(clocks, "COMPARED_FOR_SECONDS", -1.0)
    assert clock.now().timestamp() == pytest.approx(1_000, abs=1)
    assert BrokerClock(lambda: told.pop(0)).now().timestamp() == pytest.approx(time.time(), abs=1)


@pytest.mark.usefixtures("redis_client")
def test_it_reads_the_clock_of_the_broker_that_messages_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "connection_for_write", lambda: Connection(settings.REDIS_URL))
    with wall_clock(HOUR):
        assert app._read_broker() == pytest.approx(true_time(), abs=5)


@pytest.mark.parametrize("off", [-HOUR, HOUR])
def test_the_beat_keeps_its_pace_when_its_wall_clock_jumps(off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait an hour for a clock that went back, and run everything at once where it went forward."""
    sent: list[str] = []
    monkeypatch.setattr(Scheduler, "apply_entry", lambda self, entry, producer=None: sent.append(entry.name))
    beat = Scheduler(app, schedule={"tick": {"task": "tick", "schedule": clocks.every(0.1)}})
    beat.tick()
    with wall_clock(off):
        begun = time.monotonic()
        while len(sent) < 3:
            assert time.monotonic() - begun < 5
            time.sleep(min(max(beat.tick(), 0.0), 0.05))
        assert time.monotonic() - begun >= 0.2


def test_the_beat_keeps_its_pace_with_everything_it_does() -> None:
    assert {each["schedule"].nowfun for each in app.conf.beat_schedule.values()} == {clocks.counted}

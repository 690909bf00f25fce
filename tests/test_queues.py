"""A queue that no worker serves does not fill Redis."""

from typing import Any

import pytest
from django.conf import settings
from kombu import Connection

from integrations.braze import tasks
from masivo_braze import clocks, queues
from masivo_braze.celery import app


@pytest.fixture
def broker(redis_client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The broker, whose clock is read, and whose queues are shortened, at each message."""
    monkeypatch.setattr(app, "connection_for_write", lambda *_, **__: Connection(settings.REDIS_URL))
    monkeypatch.setattr(clocks, "COMPARED_FOR_SECONDS", -1.0)
    return redis_client


def publish(task: Any, number: int) -> None:
    with Connection(settings.REDIS_URL) as connection:
        for each in range(number):
            task.apply_async((each,), expires=2, connection=connection)


@pytest.mark.parametrize("task, queue", [(tasks.flush_backlog, "backlog"), (tasks.relay, "relay")])
def test_a_queue_that_no_worker_serves_keeps_the_newest_messages(
    broker: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, task: Any, queue: str
) -> None:
    """Each tick adds some: a day without the worker of backlogs filled Redis, and every account stood still."""
    monkeypatch.setattr(queues, "MOST_MESSAGES", 3)
    publish(task, 10)
    app.now()
    assert broker.llen(queue) == 3
    assert '"argsrepr": "(9,)"' in broker.lindex(queue, 0)
    assert f"queue {queue} had" in caplog.text


def test_every_queue_that_is_used_is_shortened(broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST_MESSAGES", 1)
    used = {app.amqp.router.route({}, name)["queue"].name for name in app.tasks if name.startswith("integrations.")}
    for name in used:
        broker.lpush(name, *range(5))
    app.now()
    assert {name: broker.llen(name) for name in used} == dict.fromkeys(used, 1)


def test_a_broker_that_does_not_let_queues_be_shortened_is_asked_for_its_time_all_the_same(
    broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broker.set("relay", "no queue")
    assert app._read_broker() > 0
    assert "could not be shortened" in caplog.text

"""What is logged over and over while the database or Redis is away is one line each time."""

import logging
import logging.config
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import redis
from billiard.exceptions import RestartFreqExceeded
from celery import Celery
from celery.beat import Scheduler
from django.conf import settings
from django.db import DatabaseError, InternalError, OperationalError
from django.db.backends.postgresql.base import DatabaseWrapper

from dev.ports import free_port

logger = logging.getLogger("integrations.braze.tasks")


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the console shows of all that was logged."""
    described: dict[str, Any] = settings.LOGGING["formatters"]  # type: ignore[assignment]
    formatter = logging.config.DictConfigurator({}).configure_formatter(dict(described["line"]))
    return lambda: "\n".join(map(formatter.format, caplog.records))


def no_server() -> None:
    """Raises what Django does where nothing listens."""
    with DatabaseWrapper({}).wrap_database_errors:
        psycopg.connect(f"host=127.0.0.1 port={free_port()} user=nobody dbname=nothing")


def broken_off() -> None:
    raise OperationalError("terminating connection") from psycopg.errors.AdminShutdown("terminating connection")


def full() -> None:
    raise OperationalError("no space left\nHINT: Check it.") from psycopg.errors.DiskFull("no space left")


def only_read() -> None:
    raise InternalError("a read-only transaction") from psycopg.errors.ReadOnlySqlTransaction("read-only")


@pytest.mark.parametrize("fail", [no_server, broken_off, full, only_read])
def test_a_database_that_is_away_takes_one_line(fail: Callable[[], None], written: Callable[[], str]) -> None:
    try:
        fail()
    except DatabaseError as error:
        logger.exception("senders of account 7 could not be woken")
        words = f"{type(error).__name__}: {error}".partition("\n")[0]
    assert written().splitlines() == [written()]
    assert written().endswith(f"senders of account 7 could not be woken: {words}")


@pytest.mark.parametrize(
    "error",
    [
        redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        redis.ReadOnlyError("You can't write against a read only replica."),
        redis.ResponseError("Command # 1 (SADD x y) of pipeline caused error: MISCONF it cannot save its snapshot."),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        RestartFreqExceeded("5 in 1s"),  # how Celery's workers put it
    ],
)
def test_a_redis_that_refuses_takes_one_line(error: Exception, written: Callable[[], str]) -> None:
    try:
        raise error
    except type(error):
        logger.exception("it failed")
    assert written().splitlines() == [written()]
    assert str(error) in written()


def test_a_tick_that_cannot_be_published_takes_one_line(written: Callable[[], str]) -> None:
    app = Celery(broker=f"redis://127.0.0.1:{free_port()}", set_as_current=False)
    app.conf.task_publish_retry = False
    app.conf.broker_transport_options = {"max_retries": 0}
    app.conf.beat_schedule = {"sweep": {"task": "integrations.outbox.tasks.sweep", "schedule": 1}}
    scheduler = Scheduler(app=app)
    scheduler.apply_entry(scheduler.schedule["sweep"])
    assert written().splitlines() == [written()]
    assert "Couldn't apply scheduled task sweep" in written()
    assert "refused" in written()


def test_any_other_failure_has_its_traceback(written: Callable[[], str]) -> None:
    """A deadlock, too: the database is there, and where it happened is of interest."""
    try:
        raise OperationalError("deadlock detected") from psycopg.errors.DeadlockDetected("deadlock detected")
    except OperationalError:
        logger.exception("it failed")
    assert "Traceback" in written()


def test_what_redis_calls_a_mistake_has_its_traceback(written: Callable[[], str]) -> None:
    try:
        raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    except redis.ResponseError:
        logger.exception("it failed")
    assert "Traceback" in written()


def test_a_connection_that_is_not_kept_takes_no_line() -> None:
    """There are more than a pool keeps whenever many accounts at one host are slow at once."""
    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.WARNING)

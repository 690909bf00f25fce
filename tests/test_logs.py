"""What is logged over and over while the database or Redis is away, or not migrated, is a line without a traceback."""

import io
import logging
import logging.config
import sqlite3
from collections.abc import Callable
from typing import Any, cast

import psycopg
import pytest
import redis
from billiard.exceptions import RestartFreqExceeded
from celery import Celery
from celery.beat import Scheduler
from django.conf import settings
from django.db import DatabaseError, InternalError, OperationalError, ProgrammingError
from django.db.backends.postgresql.base import DatabaseWrapper

from dev.ports import free_port
from masivo_braze import logs

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


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a process that has just started writes."""
    (handler,) = [each for each in logging.getLogger().handlers if each.get_name() == "console"]
    (seldom,) = handler.filters
    monkeypatch.setattr(seldom, "_said_at", float("-inf"))
    monkeypatch.setattr(handler, "stream", io.StringIO())
    return cast("io.StringIO", handler.stream)  # type: ignore[attr-defined]  # of a StreamHandler


NO_TABLE = psycopg.errors.UndefinedTable('relation "outbox_outboxentry" does not exist\nLINE 1: SELECT …')
MISSING = [
    (ProgrammingError(str(NO_TABLE)), NO_TABLE),
    (ProgrammingError(), psycopg.errors.UndefinedColumn("column told does not exist")),
    (OperationalError(), sqlite3.OperationalError("no such table: outbox_outboxentry")),
]


def log_as_ticks_do(error: DatabaseError, cause: Exception) -> None:
    try:
        raise error from cause
    except DatabaseError:
        logger.exception("Task integrations.outbox.tasks.sweep[…] raised unexpected: %r", error)


@pytest.mark.parametrize(("error", "cause"), MISSING, ids=["table", "column", "SQLite"])
def test_a_database_that_is_not_migrated_takes_a_line_now_and_then_which_says_what_to_do(
    error: DatabaseError, cause: Exception, console: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker wrote a traceback or two a second, until `release` was run."""
    for seconds in (0, 1, 29, 31):
        monkeypatch.setattr(logs, "monotonic", lambda at=seconds: at)
        log_as_ticks_do(error, cause)
        logger.warning("something else")
    lines = [line.split(" integrations.braze.tasks ")[1] for line in console.getvalue().splitlines()]
    words = str(cause).partition("\n")[0]
    expected = f"The database is not as this version needs it: run `release`, or `manage.py migrate` ({words})"
    assert lines == [expected, *["something else"] * 3, expected, "something else"]


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

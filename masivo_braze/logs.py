"""Says in one line that the database or Redis is away, or refuses writes, or that the database is not migrated.

While one of them is, each tick and task fails the same way, several a second. Their tracebacks, of up to a hundred
lines each, would fill the disk within days and bury what matters, and all they tell is in the error's own words.
"""

import logging
import sqlite3
from copy import copy
from time import monotonic

import redis
from billiard.exceptions import RestartFreqExceeded
from django.db import InterfaceError, InternalError, OperationalError
from kombu.exceptions import OperationalError as BrokerError

#: SQLSTATEs of a PostgreSQL that breaks off connections or takes none, whose disk is full, or that only reads: how they
#: begin. None: it did not even answer.
_OUT_OF_USE = ("08", "53", "57P", "25006")
#: What Redis says if it cannot save its snapshot, or has too few replicas. In a pipeline, it is not the first word.
_REFUSES_WRITES = ("MISCONF", "NOREPLICAS")
#: What is raised where Redis is not there, is full, or is a replica; the last one, by a worker that tries it often.
_REDIS_AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
    BrokerError,
    RestartFreqExceeded,
)
#: SQLSTATEs of a table, and of a column, that is not there; and SQLite's words for them.
_MISSING = ("42P01", "42703")
_MISSING_WORDS = ("no such table", "no such column", "has no column named")
NOT_MIGRATED = "The database is not as this version needs it: run `release`, or `manage.py migrate`"
#: How often that is said.
SELDOM_SECONDS = 30.0


class Seldom(logging.Filter):
    """Of what each tick and task says until the database is migrated, lets one line through now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not any(map(_is_missing, _errors(record))):
            return True
        if monotonic() - self._said_at < SELDOM_SECONDS:
            return False
        self._said_at = monotonic()
        return True


class Brief(logging.Formatter):
    """Other handlers still get the traceback: the record itself stays as it is."""

    def format(self, record: logging.LogRecord) -> str:
        if not (line := _in_one_line(record)):
            return super().format(record)
        brief = copy(record)
        brief.msg, brief.args = line, ()
        brief.exc_info = brief.exc_text = brief.stack_info = None
        return super().format(brief)


def _in_one_line(record: logging.LogRecord) -> str:
    """What takes no traceback; or ""."""
    errors = _errors(record)
    if missing := next(filter(_is_missing, errors), None):
        return f"{NOT_MIGRATED} ({_first_line(missing)})"
    return _with_words(record.getMessage(), errors[0]) if any(map(_is_away, errors)) else ""


def _errors(record: logging.LogRecord) -> list[BaseException]:
    """The error that was logged and what led to it."""
    errors: list[BaseException] = []
    error = record.exc_info[1] if record.exc_info else None
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or error.__context__
    return errors


def _is_away(error: BaseException) -> bool:
    if isinstance(error, _REDIS_AWAY):
        return True
    if isinstance(error, redis.ResponseError):
        return any(word in str(error) for word in _REFUSES_WRITES)
    if not isinstance(error, (OperationalError, InterfaceError, InternalError)):
        return False
    state = getattr(error.__cause__, "sqlstate", "")  # SQLite's errors have none: a missing table is one of them
    return state is None or state.startswith(_OUT_OF_USE)


def _is_missing(error: BaseException) -> bool:
    if isinstance(error, sqlite3.OperationalError):
        return any(words in str(error) for words in _MISSING_WORDS)
    return getattr(error, "sqlstate", None) in _MISSING


def _with_words(message: str, error: BaseException) -> str:
    """The message's first line; the error's, too, unless the message quotes it."""
    first, words = message.partition("\n")[0], _first_line(error)
    return first if words in first else f"{first}: {type(error).__name__}: {words}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]

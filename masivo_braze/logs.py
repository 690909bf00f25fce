"""Says in one line that the database or Redis is away, or can only be read, without a traceback.

While one of them is, each tick and task fails the same way, several a second. Their tracebacks, of up to a hundred
lines each, would fill the disk within days and bury what matters, and all they tell is in the error's own words.
"""

import logging
from collections.abc import Iterator
from copy import copy

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


class Brief(logging.Formatter):
    """Other handlers still get the traceback: the record itself stays as it is."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not any(map(_is_away, _chain(error))):
            return super().format(record)
        brief = copy(record)
        brief.msg, brief.args = _in_one_line(record.getMessage(), error), ()
        brief.exc_info = brief.exc_text = brief.stack_info = None
        return super().format(brief)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_away(error: BaseException) -> bool:
    if isinstance(error, _REDIS_AWAY):
        return True
    if isinstance(error, redis.ResponseError):
        return any(word in str(error) for word in _REFUSES_WRITES)
    if not isinstance(error, (OperationalError, InterfaceError, InternalError)):
        return False
    state = getattr(error.__cause__, "sqlstate", "")  # SQLite's errors have none: a missing table is one of them
    return state is None or state.startswith(_OUT_OF_USE)


def _in_one_line(message: str, error: BaseException) -> str:
    """The message's first line; the error's, too, unless the message quotes it."""
    first, words = (text.partition("\n")[0] for text in (message, str(error)))
    return first if words in first else f"{first}: {type(error).__name__}: {words}"

"""Retries a transaction that the database rolled back because of a deadlock.

Two transactions that lock the same rows in different orders may block each other. The database then rolls one of them
back: nothing of it was done, and nothing is wrong with it.
"""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError

T = TypeVar("T")

#: Attempts in all: more deadlocks in a row are no coincidence.
MOST_TIMES = 4
#: PostgreSQL's SQLSTATE for it.
DEADLOCK_DETECTED = "40P01"


def through_deadlocks(work: Callable[[], T]) -> T:
    """The result of `work`, which must be a transaction of its own; it is repeated if a deadlock ended it.

    Raises `django.db.OperationalError` for any other failure, and for the fourth deadlock in a row.
    """
    for _ in range(MOST_TIMES - 1):
        try:
            return work()
        except OperationalError as error:
            if not _is_deadlock(error):
                raise
    return work()


def _is_deadlock(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == DEADLOCK_DETECTED

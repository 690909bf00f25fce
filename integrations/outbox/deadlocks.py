"""Work that the database ends so that somebody else's can go on is done again.

Whoever locks several rows may meet another who locks the same ones in another order. The database notices, and rolls
one of the two back: nothing of it was done, and nothing is wrong with it.
"""

from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError

T = TypeVar("T")

#: More in a row are no coincidence.
MOST_TIMES = 4
#: What PostgreSQL calls it.
DEADLOCK_DETECTED = "40P01"


def through_deadlocks(work: Callable[[], T]) -> T:
    """Do the work, which has to be a transaction of its own, again where it was ended by a deadlock.

    Raises `django.db.OperationalError` for what else goes wrong, and for the fourth deadlock in a row.
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

"""Periodic tasks that do not pile up."""

import threading
from collections.abc import Callable
from functools import wraps


def one_at_a_time(tick: Callable[[], None]) -> Callable[[], None]:
    """The tick; while this process is at it, another call returns at once.

    With many accounts it may take longer than its period. The next ones would then join it, and slow each other down,
    until all threads of the worker were ticking.
    """
    lock = threading.Lock()

    @wraps(tick)
    def run() -> None:
        if lock.acquire(blocking=False):
            try:
                tick()
            finally:
                lock.release()

    return run

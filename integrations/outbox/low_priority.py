"""A backlog's work has a thread whose priority is low with the operating system, so that what others need goes first.

A process may lower its own priority, but only a privileged one may raise it again; so the thread stays what it is, and
the process keeps it for the next backlog.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from billiard.process import current_process
from django.db import close_old_connections

T = TypeVar("T")

#: How much is added to the niceness, as by `nice -n`: where others want the same processor, it gets a tenth of it.
NICENESS = 10


def run(work: Callable[[], T]) -> T:
    """Do the work in this process' thread of low priority, with a database connection of its own, and wait for it.

    Outside a pool of processes, where other threads may have set their own priority, it is simply done.
    """
    if getattr(current_process(), "index", None) is None:
        return work()
    return _executor().submit(_with_fresh_connection, work).result()


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "low-priority", _lower)


def _lower() -> None:
    """Linux alone has priorities of threads; those that this one starts inherit it."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def _with_fresh_connection(work: Callable[[], T]) -> T:
    close_old_connections()  # as before each task, whose signal only the task's own thread gets
    return work()

"""Accounts on probation share their worker with slow tasks, and must not occupy all of its threads.

A probe may hang for as long as Braze takes to time out. Without this, a few dozen accounts whose Braze hangs kept the
data of deleted customers from being scrubbed, backfills from going on, and people from being told.
"""

import logging
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

from celery.signals import worker_init
from django.db import close_old_connections

logger = logging.getLogger(__name__)

#: The share of a worker's threads that may probe at the same time.
SHARE = 0.75
#: For how long an account waits for one of them: by then, the tick has asked for it again.
FRESH_SECONDS = 2.0

_lock = threading.Lock()
_most = inf
_busy = 0
#: Account that waits for a thread → since when it was asked for last. The first one is the next.
_waiting: dict[int, float] = {}


def connect() -> None:
    worker_init.connect(share, dispatch_uid="braze.share")


def share(sender: Any, **_: Any) -> None:
    """Before the worker's threads are started."""
    global _most
    _most = max(int(sender.concurrency * SHARE), 1)


def run(account_id: int, probe: Callable[[int], None]) -> None:
    """Probe the account, here or, if enough threads are at it, in the one that is free first."""
    global _busy
    with _lock:
        if _busy >= _most:
            _waiting[account_id] = time.monotonic()  # keeps its place in the line
            return
        _busy += 1
    upcoming: int | None = account_id
    while upcoming is not None:
        try:
            probe(upcoming)
        except Exception:  # those that wait have nothing to do with it
            logger.exception("account %s could not be probed", upcoming)
        upcoming = _next_or_leave()
        close_old_connections()  # as before each task


def _next_or_leave() -> int | None:
    """The account that has waited longest. One locked step, so that nobody begins to wait in between."""
    global _busy
    with _lock:
        oldest = time.monotonic() - FRESH_SECONDS
        while _waiting:
            account_id = next(iter(_waiting))
            if _waiting.pop(account_id) >= oldest:
                return account_id
        _busy -= 1
    return None

"""One thread per process and account: a second wake-up makes the first thread go on, instead of starting another."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.signals import worker_init

#: After this long, other accounts have their turn.
TURN_SECONDS = 5.0
#: How long a computing thread may keep the interpreter (Python's default: 5 ms). Sending a request takes some thirty
#: round trips, and after each the thread may have to wait for that of an account with a backlog.
SWITCH_SECONDS = 0.001

_lock = threading.Lock()
#: Account being worked on in this process → whether it was woken again meanwhile.
_busy: dict[int, bool] = {}


def connect() -> None:
    worker_init.connect(switch_often, dispatch_uid="braze.switch_often")


def switch_often(**_: Any) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)


def run(account_id: int, work: Callable[[], object]) -> bool:
    """Do the work, and repeat it for as long as `run` is called for the account meanwhile.

    True if the turn was over with more to do: the caller has to see that the work is taken up again. If a thread of
    this process is already at it, that thread repeats the work, and this call returns False at once.
    """
    with _lock:
        is_free = account_id not in _busy
        _busy[account_id] = not is_free
    return is_free and _work(account_id, work)


def is_asked(account_id: int) -> bool:
    """For the work itself: whether it was asked for again since the last call of this."""
    with _lock:
        if not _busy.get(account_id):
            return False
        _busy[account_id] = False
        return True


def _work(account_id: int, work: Callable[[], object]) -> bool:
    end = time.monotonic() + TURN_SECONDS
    while True:
        try:
            work()
        except BaseException:
            _leave(account_id)
            raise
        if time.monotonic() >= end:
            _leave(account_id)
            return True
        if _ends(account_id):
            return False


def _leave(account_id: int) -> None:
    with _lock:
        del _busy[account_id]


def _ends(account_id: int) -> bool:
    """Leave the lane, unless more was asked for. One locked step, so that no wake-up is lost in between."""
    with _lock:
        if _busy[account_id]:
            _busy[account_id] = False
            return False
        del _busy[account_id]
        return True

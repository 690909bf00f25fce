"""One lane a process and account: a thread that is woken twice works on, instead of a second one beside it."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.signals import worker_init

#: After this long others have their turn.
TURN_SECONDS = 5.0
#: A thread that computes may keep the interpreter to itself for this long (Python's own: 5 ms). Sending a request takes
#: some thirty round trips, after each of which a thread may have to wait for that of an account with a backlog.
SWITCH_SECONDS = 0.001

_lock = threading.Lock()
#: Accounts being worked on in this process, and whether somebody has asked for more meanwhile.
_busy: dict[int, bool] = {}


def connect() -> None:
    worker_init.connect(switch_often, dispatch_uid="braze.switch_often")


def switch_often(**_: Any) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)


def run(account_id: int, work: Callable[[], object]) -> bool:
    """Do the work, and again as long as somebody asks for it meanwhile; whether it is to be taken up again later.

    Where this process is at it already, that goes on once more, and there is nothing to do here.
    """
    with _lock:
        is_free = account_id not in _busy
        _busy[account_id] = not is_free
    return is_free and _work(account_id, work)


def is_asked(account_id: int) -> bool:
    """Whether more was asked for of work that is going on, since this was called last: it then has to look."""
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
    """Leaves the lane in the same moment in which nobody has asked for more: no wake-up is lost in between."""
    with _lock:
        if _busy[account_id]:
            _busy[account_id] = False
            return False
        del _busy[account_id]
        return True

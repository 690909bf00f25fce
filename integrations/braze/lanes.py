"""One lane a process and account: a thread that is woken twice works on, instead of a second one beside it."""

import threading
from collections.abc import Callable

_lock = threading.Lock()
#: Accounts being worked on in this process, and whether somebody has asked for more meanwhile.
_busy: dict[int, bool] = {}


def run(account_id: int, work: Callable[[], int]) -> None:
    """Call `work` until it finds nothing to do; where this process is at it already, that goes on once more."""
    with _lock:
        is_free = account_id not in _busy
        _busy[account_id] = not is_free
    if not is_free:
        return
    try:
        while True:
            found_some = work()
            if not _goes_on(account_id, bool(found_some)):
                return
    except BaseException:
        with _lock:
            del _busy[account_id]
        raise


def _goes_on(account_id: int, found_some: bool) -> bool:
    """Leaves the lane in the same moment in which nobody has asked for more: no wake-up is lost in between."""
    with _lock:
        if found_some or _busy[account_id]:
            _busy[account_id] = False
            return True
        del _busy[account_id]
        return False

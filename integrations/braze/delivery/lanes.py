"""One lane per process and account: a second wake-up makes the first thread go on, instead of starting another.

An account whose Braze takes its time is set aside: its thread goes on with other accounts, and a few threads apart take
it up again when there is an answer. If many accounts began to hang at once and kept their threads, all others would
have to wait until the last request had timed out.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from celery.signals import worker_init, worker_shutdown
from django.db import close_old_connections

logger = logging.getLogger(__name__)

#: After this long, other accounts have their turn.
TURN_SECONDS = 5.0
#: How long a computing thread may keep the interpreter (Python's default: 5 ms). Sending a request takes some thirty
#: round trips, and after each the thread may have to wait for that of an account with a backlog.
SWITCH_SECONDS = 0.001
#: Requests that a process waits for in accounts set aside. Each has a thread of its own, so they must have an end.
MOST_ASIDE = 2_000
#: Most threads that take up again what was set aside, each with a connection to the database. They are made as needed.
TAKING_UP = 32

_lock = threading.Lock()
#: Whoever leaves the last lane tells those who wait for the end of all work.
_all_left = threading.Condition(_lock)
#: Account being worked on in this process → whether it was woken again meanwhile.
_busy: dict[int, bool] = {}
#: Those of them that are set aside.
_aside: "dict[int, _Lane]" = {}
#: Outside of workers nothing is set aside: whoever calls waits for the end of the work.
_most_aside = 0
_taking_up = ThreadPoolExecutor(TAKING_UP, thread_name_prefix="braze-answered")


class Waits(NamedTuple):
    """What work waits for, and whether it looks for more when it is asked to."""

    requests: "Collection[Future[Any]]"
    looks: bool = True


#: An account's work. Whenever all it can do is wait, it says so; it may then be continued by another thread.
Work = Iterator[Waits]


@dataclass(slots=True)
class _Lane:
    """`begin` begins the work anew; `work` is under way, and waits for so many `requests` while it is set aside.

    Only if it `looks` for more is it of use to wake it before that.
    """

    account_id: int
    begin: Callable[[], Work]
    unfinished: Callable[[], object]
    work: Work
    end: float
    requests: int = 0
    looks: bool = True


def connect() -> None:
    worker_init.connect(set_up, dispatch_uid="braze.lanes")
    worker_shutdown.connect(wait_for_all, dispatch_uid="braze.lanes.end")


def set_up(**_: Any) -> None:
    """One thread that takes up is there from the start: later on, the machine may have no more to give."""
    global _most_aside
    sys.setswitchinterval(SWITCH_SECONDS)
    _taking_up.submit(lambda: None).result()
    _most_aside = MOST_ASIDE


def wait_for_all(**_: Any) -> None:
    """Of a worker that stops, until what was set aside has been settled, or `shutdown` ends the process."""
    with _all_left:
        _all_left.wait_for(lambda: not _busy)


def run(account_id: int, begin: Callable[[], Work], unfinished: Callable[[], object]) -> None:
    """Do the work, and repeat it for as long as `run` is called for the account meanwhile.

    `unfinished` is called if the turn was over with more to do: it has to see that the work is taken up again. If a
    thread of this process is already at it, that thread repeats the work, and this call returns at once.
    """
    with _lock:
        is_free = account_id not in _busy
        _busy[account_id] = not is_free
        lane = _aside.get(account_id)
        lane = _aside.pop(account_id) if lane and lane.looks else None
    if is_free:
        lane = _Lane(account_id, begin, unfinished, begin(), time.monotonic() + TURN_SECONDS)
    if lane:
        _go_on(lane)


def is_asked(account_id: int) -> bool:
    """For the work itself: whether it was asked for again since the last call of this."""
    with _lock:
        if not _busy.get(account_id):
            return False
        _busy[account_id] = False
        return True


def are_crowded() -> bool:
    """Whether as many requests are waited for in accounts set aside as may be."""
    with _lock:
        return _is_full()


def _go_on(lane: _Lane) -> None:
    """Until the work has ended, its turn is over, or it is set aside."""
    while True:
        try:
            for waits in lane.work:
                if _set_aside(lane, waits):
                    return
        except BaseException:
            _leave(lane.account_id)
            raise
        if time.monotonic() >= lane.end:
            _leave(lane.account_id)
            lane.unfinished()
            return
        if _ends(lane.account_id):
            return
        lane.work = lane.begin()


def _set_aside(lane: _Lane, waits: Waits) -> bool:
    """False if the thread has to stay with it: it was asked for more, or there is no room."""
    with _lock:
        is_asked = waits.looks and _busy[lane.account_id]
        if is_asked or not _most_aside or _is_full():
            return False
        lane.requests, lane.looks = len(waits.requests), waits.looks
        _aside[lane.account_id] = lane
    for request in waits.requests:
        request.add_done_callback(partial(_answered, lane.account_id))
    return True


def _is_full() -> bool:
    return bool(_most_aside) and sum(lane.requests for lane in _aside.values()) >= _most_aside


def _answered(account_id: int, _: "Future[Any]") -> None:
    """In the thread that has the answer, whose only work is to wait for it. Whoever has the lane sees it by itself."""
    with _lock:
        lane = _aside.pop(account_id, None)
    if lane:
        with suppress(RuntimeError):  # no further thread could be started: those that are there come to it
            _taking_up.submit(_take_up, lane)


def _take_up(lane: _Lane) -> None:
    close_old_connections()  # as before each task
    try:
        _go_on(lane)
    except Exception:
        logger.exception("flush of account %s broke off", lane.account_id)


def _leave(account_id: int) -> None:
    with _lock:
        _leave_locked(account_id)


def _leave_locked(account_id: int) -> None:
    del _busy[account_id]
    if not _busy:
        _all_left.notify_all()


def _ends(account_id: int) -> bool:
    """Leave the lane, unless more was asked for. One locked step, so that no wake-up is lost in between."""
    with _lock:
        if _busy[account_id]:
            _busy[account_id] = False
            return False
        _leave_locked(account_id)
        return True

"""A worker that is asked to stop takes nothing new, finishes what it is doing, and exits before it would be killed.

Braze may take longer to answer than a deployment waits. Such a request is left behind, as by a worker that is killed:
after its deadline its outcome is unknown, and the account's policy decides.
"""

import _thread
import logging
import os
import time
from typing import Any

from celery.signals import worker_shutting_down

logger = logging.getLogger(__name__)

#: Deployments kill what has not ended 10 s after SIGTERM.
GRACE_SECONDS = 9.0

_asked_to_stop = False


def connect() -> None:
    worker_shutting_down.connect(begin, dispatch_uid="braze.shutdown")


def begin(**_: Any) -> None:
    """Runs inside the signal handler, so it must take no lock: the code it interrupted may hold that lock.

    That code may be this very function, since a worker is often signalled more than once: by its supervisor and with
    its process group, or, if its parent is killed, once for each of the parent's threads. Hence `_thread`: everything
    in `threading` takes locks.
    """
    global _asked_to_stop
    if not _asked_to_stop:
        _asked_to_stop = True
        _thread.start_new_thread(_leave_in_time, ())


def has_begun() -> bool:
    return _asked_to_stop


def _leave_in_time() -> None:
    time.sleep(GRACE_SECONDS)
    logger.warning("stopped with requests in flight: their outcome is not known")
    os._exit(0)

"""A worker that is asked to stop takes nothing new, ends what it is at, and is gone before it would be killed.

Braze may take longer for an answer than a deployment waits. Such a request is left behind, as by a worker that is
killed: past its deadline its outcome is not known, and the account's policy decides.
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
    """Runs inside the signal's handler, so it takes no lock: what it has interrupted may hold it.

    That may be this very function, since a worker is often told more than once: by its supervisor and with its group,
    or, where its parent is killed, once for each of the parent's threads. `threading` has locks in all it does.
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

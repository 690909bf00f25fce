"""A worker that is asked to stop takes nothing new, ends what it is at, and is gone before it would be killed.

Braze may take longer for an answer than a deployment waits. Such a request is left behind, as by a worker that is
killed: past its deadline its outcome is not known, and the account's policy decides.
"""

import logging
import os
import threading
from typing import Any

from celery.signals import worker_shutting_down

logger = logging.getLogger(__name__)

#: Deployments kill what has not ended 10 s after SIGTERM.
GRACE_SECONDS = 9.0

_asked_to_stop = threading.Event()


def connect() -> None:
    worker_shutting_down.connect(begin, dispatch_uid="braze.shutdown")


def begin(**_: Any) -> None:
    _asked_to_stop.set()
    last_moment = threading.Timer(GRACE_SECONDS, _leave)
    last_moment.daemon = True
    last_moment.start()


def has_begun() -> bool:
    return _asked_to_stop.is_set()


def _leave() -> None:
    logger.warning("stopped with requests in flight: their outcome is not known")
    os._exit(0)

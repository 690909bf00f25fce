"""Exempts what a worker has loaded at its start from garbage collection.

Django and the other libraries are some 190,000 objects. Each full collection went through all of them, and the records
of a relay's round caused so many collections that they took a third of the time for reading and mapping.
"""

import gc
from typing import Any

from celery.signals import worker_process_init, worker_ready


def connect() -> None:
    """For each process of a prefork pool, and for the one process of a worker with threads."""
    for signal in (worker_process_init, worker_ready):
        signal.connect(keep_what_is_loaded, dispatch_uid="masivo_braze.memory")


def keep_what_is_loaded(**_: Any) -> None:
    gc.collect()
    gc.freeze()

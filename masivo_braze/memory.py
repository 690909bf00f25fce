"""What a worker has loaded at its start stays: the garbage collector need not look through it again and again.

Django and its like are some 190,000 objects. Each full collection went through all of them, and the records of a
relay's round caused enough collections to take a third of the time that reading and mapping took.
"""

import gc
from typing import Any

from celery.signals import worker_process_init, worker_ready


def connect() -> None:
    """For the processes of a pool, and for the one process of a worker that has threads."""
    for signal in (worker_process_init, worker_ready):
        signal.connect(keep_what_is_loaded, dispatch_uid="masivo_braze.memory")


def keep_what_is_loaded(**_: Any) -> None:
    gc.collect()
    gc.freeze()

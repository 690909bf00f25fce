"""Waiting for conditions instead of sleeping for luck."""

import time
from collections.abc import Callable


class TimedOut(Exception):
    """What was waited for did not come."""


def wait_until(condition: Callable[[], object], what: str, timeout: float = 30.0, every: float = 0.05) -> float:
    """Seconds until `condition()` was true; `TimedOut` naming `what` when it is not within `timeout` seconds."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout:
            raise TimedOut(f"waited {timeout:.0f} s for {what}")
        time.sleep(every)
    return time.monotonic() - started

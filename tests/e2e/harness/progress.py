"""Faults are spread over the work, not over the time."""

import time

from dev.stack import Stack
from dev.waiting import wait_until


def progress(stack: Stack, requests: int, seconds: float) -> None:
    """Wait until so many more requests reached the sandbox, or the time is up: some faults stop all progress."""
    before = _requests(stack)
    end = time.monotonic() + seconds
    wait_until(lambda: _requests(stack) >= before + requests or time.monotonic() > end, "progress", seconds + 5, 0.02)


def _requests(stack: Stack) -> int:
    return sum(stack.sandbox.summary()["requests"].values())

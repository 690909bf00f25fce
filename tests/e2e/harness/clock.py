"""`python -m tests.e2e.harness.clock PROGRAM…`: runs one of Celery's programs by a wall clock that jumps when told to.

`FORWARD` and `BACK` move it by an hour, in the process that gets the signal. Children have it from their parent.
"""

import re
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

import time_machine
from celery.__main__ import main

FORWARD, BACK = signal.SIGRTMIN, signal.SIGRTMIN + 1
JUMP = timedelta(hours=1)


def run(arguments: list[str]) -> None:
    """Never returns."""
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        time.time()  # it begins to run when it is first looked at
        for number, delta in ((FORWARD, JUMP), (BACK, -JUMP)):
            signal.signal(number, _jumping(clock, delta))
        sys.argv = arguments
        main()


def catches(pid: int, number: int) -> bool:
    """Whether the process is there and would not be ended by the signal (Linux: /proc)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, flags=re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def _jumping(clock: time_machine.Traveller, delta: timedelta) -> "Callable[[int, FrameType | None], None]":
    def jump(number: int, frame: FrameType | None) -> None:
        clock.shift(delta)

    return jump


if __name__ == "__main__":
    run(sys.argv[1:])

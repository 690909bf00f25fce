"""Processes in groups of their own, so that stopping one stops all it has started."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
#: prctl(2): the signal a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def read_procfile(path: Path) -> dict[str, str]:
    """Process name → shell command line, in the file's order."""
    lines = re.findall(r"^([A-Za-z0-9_-]+):\s*(.+)$", path.read_text(), flags=re.MULTILINE)
    return dict(lines)


def spawn(
    command: str | list[str], env: Mapping[str, str], output: IO[bytes] | int, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` (a shell line or an argument list) in the repository's root, leading a new process group.

    stdout and stderr both go to `output`; `user` is whom root runs it as. On Linux it is asked to terminate when
    this process dies.
    """
    arguments = ["/bin/sh", "-c", f"exec {command}"] if isinstance(command, str) else command
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=dict(env),
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def stop(processes: Iterable[subprocess.Popen[bytes]], grace: float = 8.0) -> None:
    """Terminate all at once; after `grace` seconds kill what is left of their groups."""
    stopping = list(processes)
    for process in stopping:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace
    for process in stopping:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in stopping:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the whole group, whether or not its leader still lives."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the leader only: a Celery worker asked to stop lets its children finish what they are doing."""
    if process.poll() is None:
        process.send_signal(number)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

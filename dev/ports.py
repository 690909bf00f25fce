"""TCP ports on loopback."""

import fcntl
import http.client
import os
import secrets
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

#: Below what Linux (from 32768) and macOS (from 49152) give to outgoing connections, which may take any port there
#: between its choice and its use.
CANDIDATES: Sequence[int] = range(20_000, 32_000)

#: What this process was given; the locks end with it.
_reserved: list[IO[bytes]] = []


class NoneFree(Exception):
    """Every port is in use or reserved."""


def free_port() -> int:
    """A port that nobody listens on, reserved against other calls, in any process, until this process ends."""
    for port in secrets.SystemRandom().sample(CANDIDATES, len(CANDIDATES)):
        if is_free(port) and _reserve(port):
            return port
    raise NoneFree("No TCP port is free.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Without it a port whose last connections are still in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def serves(port: int, path: str) -> bool:
    """Whether a page is answered there: a server listens long before its workers can answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _reserve(port: int) -> bool:
    """Whether nobody had it; the kernel releases the lock when this process ends, however it ends."""
    directory = Path(tempfile.gettempdir()) / f"masivo-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    lock = (directory / str(port)).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _reserved.append(lock)
    return True

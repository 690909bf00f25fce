"""`python -m dev.postgres COMMAND…`: run a command with DATABASE_URL pointing at a temporary PostgreSQL.

The cluster lives in a temporary directory, listens on loopback at a free port and is gone afterwards. PostgreSQL's
programs must be installed; its server refuses to run as root, so root starts it as the user `postgres`.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dev.ports import free_port
from dev.processes import spawn
from dev.waiting import wait_until

MISSING = """PostgreSQL's programs (initdb, postgres) were not found.
On Debian and Ubuntu: apt-get install postgresql; on macOS: brew install postgresql. Or put pg_config on the PATH."""

#: Nothing in a temporary cluster has to survive a power cut; for the rest it is as a small production server.
UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
SETTINGS = (*UNSAFE, "shared_buffers=512MB", "max_wal_size=4GB", "max_connections=300")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with temporary_cluster() as url:
        return subprocess.run(sys.argv[1:], env={**os.environ, "DATABASE_URL": url}, check=False).returncode


@contextmanager
def temporary_cluster(settings: Sequence[str] = SETTINGS) -> Iterator[str]:
    """The URL of the database `postgres` in a fresh cluster with these settings."""
    programs = find_programs()
    with tempfile.TemporaryDirectory(prefix="masivo-pg-") as directory:
        if user := _server_user():
            shutil.chown(directory, user)
        data = Path(directory) / "data"
        _initialise(programs, data, user)
        port = free_port()
        server = _start(programs, data, port, user, settings)
        try:
            ready = [str(programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
            wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL", every=0.1)
            yield f"postgres://masivo@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: clients that are still connected are of no interest
            server.wait()


def find_programs() -> Path:
    """The directory of initdb and postgres: Debian's newest, else pg_config's."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    if config := shutil.which("pg_config"):
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        candidates.append(Path(answer.stdout.strip()))
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise SystemExit(MISSING)


def _server_user() -> str | None:
    """Whom to run the server as: None is oneself."""
    if os.getuid() != 0:
        return None
    return "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"


def _initialise(programs: Path, data: Path, user: str | None) -> None:
    options = ["--username=masivo", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
    command = [str(programs / "initdb"), *options, "--pgdata", str(data)]
    done = subprocess.run(command, user=user, cwd=data.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"initdb failed:\n{done.stdout}{done.stderr}")


def _start(programs: Path, data: Path, port: int, user: str | None, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    settings = [*settings, "listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={data.parent}"]
    options = [word for setting in settings for word in ("-c", setting)]
    with (data.parent / "postgres.log").open("wb") as log:
        return spawn([str(programs / "postgres"), "-D", str(data), *options], os.environ, log, user=user)


if __name__ == "__main__":
    sys.exit(main())

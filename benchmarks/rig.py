"""What is measured on: a real PostgreSQL and Redis, the Procfile's own workers, and a sink in Braze's place."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import postgres
from dev.ports import answers
from dev.stack import Stack
from dev.waiting import wait_until

#: As a small production server: commits are on disk when they are acknowledged.
POSTGRES = ("fsync=on", "synchronous_commit=on", "shared_buffers=512MB", "max_wal_size=4GB", "max_connections=300")
POSTGRES += ("shared_preload_libraries=pg_stat_statements",)


class Rig(Stack):
    """A stack whose Braze is the sink; `latency_ms` is how long that takes to answer."""

    def __init__(self, directory: Path, database_url: str, latency_ms: float = 0.0) -> None:
        super().__init__(directory, database_url)
        self.latency_ms = latency_ms
        self.env |= {"LOG_LEVEL": "WARNING"}

    def start_sandbox(self) -> None:
        command = [sys.executable, "-m", "benchmarks.sink", "--port", str(self.sandbox_port)]
        self._spawn("sandbox", [*command, "--latency-ms", str(self.latency_ms)])
        wait_until(lambda: answers(self.sandbox_port), "the sink")


@contextmanager
def rig(latency_ms: float = 0.0, **env: str) -> Iterator[Rig]:
    """Up and migrated, with this process' Django on it. Once a process: settings are read once."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        postgres.temporary_cluster(POSTGRES) as url,
        Rig(Path(directory), url, latency_ms) as running,
    ):
        running.env |= env
        os.environ.update(running.env)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        try:
            yield running
        finally:
            connections.close_all()

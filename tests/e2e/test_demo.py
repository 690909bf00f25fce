"""`make demo` itself, with its workers killed in the middle."""

import subprocess
import sys

import pytest

from dev.processes import ROOT

pytestmark = pytest.mark.e2e


def test_it_loses_nothing_and_doubles_nothing_when_the_workers_are_killed_midway(database_url: str | None) -> None:
    command = [sys.executable, "-m", "dev.demo", "--kill-worker"]
    command += ["--database-url", database_url] if database_url else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "Killed the workers (SIGKILL)" in done.stdout
    assert "244,091.94" in done.stdout
    assert "Objects applied twice: 0" in done.stdout

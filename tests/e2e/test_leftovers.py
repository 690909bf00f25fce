"""The search for processes left behind finds them whatever they are doing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.leftovers import processes_of

pytestmark = pytest.mark.e2e

#: Opens and closes files all the time, so that one is gone whenever its list has just been read.
BUSY = "import sys; print('up', flush=True)\nwhile True:\n    with open(sys.executable): pass"


@contextmanager
def running(code: str, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


def test_it_finds_a_process_that_opens_and_closes_files_meanwhile(tmp_path: Path) -> None:
    with running(BUSY, VAR_DIR=str(tmp_path)):
        assert [len(processes_of(tmp_path)) for _ in range(100)] == [1] * 100
    assert processes_of(tmp_path) == []


def test_it_finds_a_process_by_a_file_it_has_open(tmp_path: Path) -> None:
    code = f"import time; file = open({str(tmp_path / 'data')!r}, 'w'); print('up', flush=True); time.sleep(60)"
    with running(code):
        assert len(processes_of(tmp_path)) == 1
    assert processes_of(tmp_path) == []

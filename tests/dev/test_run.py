"""`make run` itself: what its processes say."""

import io
import os
import sys

import pytest

from dev.run import BANNER, Run
from dev.waiting import wait_until

#: Asked to end, it says more than a pipe holds.
TALKER = (
    "import signal, sys; signal.signal(15, lambda *_: sys.exit('a word\\n' * 20_000 + 'the last'));"
    "print('up', flush=True); signal.pause()"
)


def test_where_things_are_needs_no_encoding() -> None:
    """With LC_ALL=C, all was stopped as soon as it ran, since the quotation marks could not be printed."""
    assert BANNER.isascii()


def test_it_prints_all_that_its_processes_said_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", said := io.StringIO())
    run = Run(dict(os.environ))
    for number in range(4):
        run._commands[f"talker-{number}"] = f'{sys.executable} -c "{TALKER}"'
        run._start(f"talker-{number}")
    wait_until(lambda: said.getvalue().count("| up\n") == 4, "the talkers")
    run.stop()
    assert said.getvalue().count("the last") == 4

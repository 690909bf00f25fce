"""A worker that is told to stop starts nothing new, and may be told so more than once."""

import subprocess
import sys

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import flush, shutdown
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts

#: Begins again and again, each time interrupted by itself before another one of its instructions.
AT_ANY_INSTRUCTION = """
import faulthandler, importlib, itertools, sys
from integrations.braze.delivery import shutdown

def trace(frame, event, argument):
    global left
    frame.f_trace_opcodes = True
    if event == "opcode":
        left -= 1
        if not left:
            sys.settrace(None)
            shutdown.begin()
    return trace

faulthandler.dump_traceback_later(5, exit=True)
for instruction in itertools.count(1):
    importlib.reload(shutdown)
    left = instruction
    sys.settrace(trace)
    shutdown.begin()
    sys.settrace(None)
    if left > 0:
        break
    assert shutdown.has_begun()
print(instruction, "instructions")
"""


def test_a_worker_may_be_told_to_stop_again_while_it_hears_it() -> None:
    """Where the second time waits for a lock that the first one holds, the worker hangs until it is killed."""
    told = subprocess.run([sys.executable, "-c", AT_ANY_INSTRUCTION], capture_output=True, text=True, timeout=30)
    assert told.stderr == ""
    assert int(told.stdout.split()[0]) > 5


def test_a_worker_that_is_told_to_stop_starts_no_further_request(
    account: Account, change: Customer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that left now could still be without an answer when the worker is killed."""
    relay.relay(account.pk)
    monkeypatch.setattr(shutdown, "_asked_to_stop", True)
    assert flush.flush(account.pk) == 0
    assert counts() == {"buffered": 4}
    assert sandbox.requests() == []
    monkeypatch.setattr(shutdown, "_asked_to_stop", False)
    assert flush.flush(account.pk) == 1

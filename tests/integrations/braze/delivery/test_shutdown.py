"""A worker that is told to stop may be told so more than once."""

import subprocess
import sys

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

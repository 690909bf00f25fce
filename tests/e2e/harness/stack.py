"""The stack under fire: two relay workers, two beats, and a sandbox that keeps the sequence of what it applied."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from dev.ports import answers
from dev.processes import ROOT, kill, read_procfile
from dev.stack import Stack
from dev.waiting import wait_until
from tests.e2e.harness import clock, scenario

#: Times that are short enough to wait for, and long enough to be hit by faults.
HURRIED = {
    "BRAZE_LEASE_SECONDS": "1.5",
    "BRAZE_READ_TIMEOUT_SECONDS": "2",
    "BRAZE_DELETE_AFTER_SECONDS": "0.5",
    "BRAZE_DELETE_SETTLES_SECONDS": "2",
    "RELAY_CONCURRENCY": "2",
    "FLUSH_CONCURRENCY": "16",
    "BACKLOG_CONCURRENCY": "16",
    "LOG_LEVEL": "WARNING",
}
RELAYS = ("worker", "worker2")
#: Those that send what has not failed.
SENDERS = ("flush", "backlog")
PROCESSES = (*RELAYS, *SENDERS, "probation", "beat", "beat2")
#: Those whose clocks jump.
JUMPY = ("worker2", *SENDERS, "beat2")
#: What a worker has to end what it is at, once it was asked to stop.
GRACE_SECONDS = 10.0


class TorturedStack(Stack):
    """`complaints` are promises that were seen to break while the faults were injected."""

    def __init__(self, directory: Path, database_url: str | None, seed: int) -> None:
        super().__init__(directory, database_url)
        self.seed = seed
        self.env |= HURRIED
        self.complaints: list[str] = []

    @property
    def database_url(self) -> str:
        return self.env["DATABASE_URL"]

    def start_sandbox(self) -> None:
        command = [sys.executable, "-m", "integrations.braze.sandbox", "--port", str(self.sandbox_port), "--journal"]
        command += ["--blacklist-user", scenario.BLACKLISTED]
        command += [word for key in scenario.KEYS for word in ("--key", key)]
        command += ["--track-limit", str(scenario.TRACK_LIMIT)] if scenario.is_limited(self.seed) else []
        self._spawn("sandbox", command)
        wait_until(lambda: answers(self.sandbox_port), "the sandbox")
        self.set_faults()

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Put these in force in place of the last ones; the poison stays."""
        self.sandbox.set_faults(*faults, scenario.POISON_FAULT)

    def start(self, *names: str) -> None:
        """As in the Procfile; a name that ends in 2 is a second process of the same kind."""
        commands = read_procfile(ROOT / "Procfile")
        for name in names:
            command = commands[name.removesuffix("2")].replace("-n relay@", f"-n {name}@")
            self._spawn(name, f"{sys.executable} -m tests.e2e.harness.clock {command}" if name in JUMPY else command)

    def terminate(self, name: str) -> None:
        """SIGTERM, as a deployment does it."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.complaints.append(f"{name} did not end within {GRACE_SECONDS:.0f} s of SIGTERM")
        kill(process)

    def children(self, name: str) -> list[int]:
        pid = self.processes[name].pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def jump(self, name: str, number: int) -> None:
        """Move the clock of a process, and of those it has started; of one that is not up yet, it stays as it is."""
        for pid in (self.processes[name].pid, *self.children(name)):
            if clock.catches(pid, number):
                os.kill(pid, number)

    def signal_children(self, name: str, number: signal.Signals) -> None:
        for child in self.children(name):
            os.kill(child, number)

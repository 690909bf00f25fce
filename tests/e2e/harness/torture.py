"""`python -m tests.e2e.harness.torture [--seeds N] [--first SEED] [--steps N]`: many seeds, each on a fresh stack."""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dev.ports import answers
from dev.processes import ROOT, spawn
from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.conftest import fresh_database
from tests.e2e.harness import faults

#: Times that are short enough to wait for, and long enough to be hit by faults.
HURRIED = {
    "BRAZE_READ_TIMEOUT_SECONDS": "2",
    "BRAZE_DELETE_AFTER_SECONDS": "0.5",
    "BRAZE_DELETE_SETTLES_SECONDS": "2",
    "RELAY_CONCURRENCY": "2",
    "FLUSH_CONCURRENCY": "16",
    "LOG_LEVEL": "WARNING",
}


@dataclass(frozen=True)
class Result:
    seed: int
    seconds: float
    injected: list[str]
    broken: list[str]
    books: str


class WatchedStack(Stack):
    """Its sandbox keeps the sequence of what it applied."""

    def start_sandbox(self) -> None:
        command = [sys.executable, "-m", "integrations.braze.sandbox", "--port", str(self.sandbox_port), "--journal"]
        self._spawn("sandbox", command)
        wait_until(lambda: answers(self.sandbox_port), "the sandbox")


def run(seed: int, steps: int) -> Result:
    """One seed: workload and faults, then healing, then the checks."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as directory,
        fresh_database() as database_url,
        WatchedStack(Path(directory), database_url) as stack,
    ):
        stack.env |= HURRIED
        stack.manage("migrate", "--verbosity", "0")
        stack.start(*WORKERS)
        injected = _work_under_fire(stack, seed, steps)
        faults.heal(stack)
        checked = _check(stack)
        if checked.returncode:
            print(stack.logs(lines=25), file=sys.stderr)
    broken = checked.stdout.splitlines() or ([checked.stderr[-2000:]] if checked.returncode else [])
    books = checked.stderr.strip().splitlines()[-1] if checked.stderr.strip() else ""
    return Result(seed, time.monotonic() - begun, injected, broken, books)


def _work_under_fire(stack: Stack, seed: int, steps: int) -> list[str]:
    module = [sys.executable, "-m", "tests.e2e.harness.workload"]
    arguments = ["--endpoint", stack.sandbox.url, "--seed", str(seed), "--steps", str(steps)]
    with (stack.directory / "workload.log").open("wb") as log:
        workload = spawn([*module, *arguments], stack.env, log)
    injected = faults.inject(stack, seed, lambda: workload.poll() is not None)
    assert workload.returncode == 0, (stack.directory / "workload.log").read_text()
    return injected


def _check(stack: Stack) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.e2e.harness.checks", "--sandbox", stack.sandbox.url]
    return subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        result = run(seed, options.steps)
        failed += bool(result.broken)
        print(f"seed {seed}: {'BROKEN' if result.broken else 'sound'} in {result.seconds:.0f} s; {result.books}")
        print(f"  {len(result.injected)} faults: {' '.join(result.injected)}", *result.broken, sep="\n  ", flush=True)
    print(f"{options.seeds} seeds, {failed} broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

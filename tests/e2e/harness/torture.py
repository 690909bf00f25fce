"""`python -m tests.e2e.harness.torture [--seeds N] [--first SEED] [--steps N]`: many seeds, each on a fresh stack."""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dev.processes import ROOT, spawn
from tests.e2e.harness import database, faults
from tests.e2e.harness.stack import PROCESSES, TorturedStack

#: Longest time until all is settled, once everything runs and answers again.
SETTLE_SECONDS = 90.0


@dataclass(frozen=True)
class Result:
    """`broken` names the promises that did not hold; `books` is what became of the captured changes."""

    seed: int
    seconds: float
    injected: list[str]
    broken: list[str]
    books: str

    def __str__(self) -> str:
        judgement = "BROKEN" if self.broken else "sound"
        lines = [f"seed {self.seed}: {judgement} in {self.seconds:.0f} s; {self.books}"]
        return "\n  ".join([*lines, f"{len(self.injected)} faults: {' '.join(self.injected)}", *self.broken])


def run(seed: int, steps: int, settle_seconds: float = SETTLE_SECONDS, often: str = "") -> Result:
    """One seed: workload and faults, the one named `often` more than others, then healing, then the checks."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="torture-") as directory,
        database.fresh_database() as url,
        TorturedStack(Path(directory), url, seed) as stack,
    ):
        stack.manage("migrate", "--verbosity", "0")
        stack.start(*PROCESSES)
        injected = _work_under_fire(stack, steps, often)
        faults.heal(stack)
        checked = _check(stack, settle_seconds)
        if checked.returncode:
            print(stack.logs(lines=25), file=sys.stderr)
    broken = checked.stdout.splitlines() or ([checked.stderr[-2000:]] if checked.returncode else [])
    books = checked.stderr.strip().splitlines()[-1] if checked.stderr.strip() else ""
    return Result(seed, time.monotonic() - begun, injected, stack.complaints + broken, books)


def _work_under_fire(stack: TorturedStack, steps: int, often: str) -> list[str]:
    module = [sys.executable, "-m", "tests.e2e.harness.workload"]
    arguments = ["--endpoint", stack.sandbox.url, "--seed", str(stack.seed), "--steps", str(steps)]
    arguments += ["--report", str(_report(stack))]
    with (stack.directory / "workload.log").open("wb") as log:
        workload = spawn([*module, *arguments], stack.env, log)
    injected = faults.inject(stack, lambda: workload.poll() is not None, often)
    if workload.returncode:
        words = (stack.directory / "workload.log").read_text().splitlines()[-1:]
        stack.complaints.append(f"workload: a save failed: {' '.join(words)}")
    return injected


def _check(stack: TorturedStack, settle_seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.e2e.harness.checks", "--sandbox", stack.sandbox.url]
    command += ["--seed", str(stack.seed), "--report", str(_report(stack)), "--seconds", str(settle_seconds)]
    return subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, check=False)


def _report(stack: TorturedStack) -> Path:
    return stack.directory / "workload.json"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--settle-seconds", type=float, default=SETTLE_SECONDS)
    parser.add_argument("--until-broken", action="store_true", help="stop at the first seed that finds something")
    parser.add_argument("--often", default="", choices=[fault.__name__ for fault in faults.FAULTS], help="this fault")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        result = run(seed, options.steps, options.settle_seconds, options.often)
        failed += bool(result.broken)
        print(result, flush=True)
        if failed and options.until_broken:
            break
    print(f"{options.seeds} seeds, {failed} broken")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

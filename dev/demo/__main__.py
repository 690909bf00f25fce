"""`python -m dev.demo [--kill-worker]`: sync the sample shop into the sandbox; exit 1 if Braze holds anything else."""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from dev.stack import Stack
from dev.waiting import TimedOut
from manage import print_whatever_the_encoding


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="Sync the sample shop into the sandbox.")
    parser.add_argument(
        "--kill-worker", action="store_true", help="SIGKILL the workers in the middle of the sync and start them again"
    )
    parser.add_argument("--database-url", help="a database to use and fill instead of a fresh SQLite file")
    options = parser.parse_args()
    print_whatever_the_encoding()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="masivo-demo-") as directory,
        Stack(Path(directory), options.database_url) as stack,
    ):
        passed = _demo(stack, options.kill_worker)
        if not passed:
            print(stack.logs(), file=sys.stderr)
    print(f"\n{'Passed' if passed else 'FAILED'} in {time.monotonic() - started:.1f} s.")
    return 0 if passed else 1


def _demo(stack: Stack, kill_worker: bool) -> bool:
    """Only from here on is Django set up, and with the stack's own database."""
    os.environ.update(stack.env)
    import django

    django.setup()
    from dev.demo.scenario import run

    try:
        return run(stack, kill_worker)
    except TimedOut as error:
        print(f"\nGave up: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.e2e.harness.checks`: waits until all is settled, then compares Braze with the database.

Then an operator decides what is unknown, by what Braze has, and in the end nothing is open. Prints one line per broken
promise; exits 1 if there is any.
"""

import argparse
import json
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

from tests.e2e.harness import scenario
from tests.e2e.harness.journal import Braze

if TYPE_CHECKING:
    from tests.e2e.harness.promises import Check


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    django.setup()
    from tests.e2e.harness import promises

    report = {**json.loads(options.report.read_text()), "is_limited": scenario.is_limited(options.seed)}
    report["seconds"] = options.seconds
    # A reversal whose sale is unknown is parked until somebody decides.
    broken = list(promises.settled(options.seconds, parked=False))
    broken += run(promises.CHECKS, Braze(options.sandbox), report)
    entries = _entries()
    in_the_end = ""
    if not broken:
        broken = [f"in the end, {what}" for what in run((promises.decided,), Braze(options.sandbox), report)]
        braze = Braze(options.sandbox)
        broken += [f"in the end, {what}" for what in run(promises.CHECKS_IN_THE_END, braze, report)]
        in_the_end = f"; once all was decided {dict(_entries())}"
    print(f"captured {sum(entries.values())}: {dict(entries)}{in_the_end}", file=sys.stderr)
    for line in broken[:20]:
        print(line)
    return 1 if broken else 0


def _entries() -> Counter[str]:
    from integrations.outbox.models import OutboxEntry

    return Counter(OutboxEntry.objects.values_list("status", flat=True))


def run(checks: "tuple[Check, ...]", braze: Braze, report: dict[str, Any]) -> list[str]:
    return [f"{check.__name__}: {what}" for check in checks for what in _found_by(check, braze, report)]


def _found_by(check: "Check", braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """A state that a check did not reckon with is a broken promise as well; the trace goes to the log."""
    try:
        yield from check(braze, report)
    except Exception as error:
        traceback.print_exc()
        yield f"cannot make sense of what is there: {type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())

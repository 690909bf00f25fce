"""`python -m tests.e2e.harness.sabotage [NAME…]`: breaks the product on purpose, and the harness must notice.

Each sabotage replaces a few lines in a copy of the tree, where seeds run until one finds something. Prints a table;
exits 1 where a sabotage was not found.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dev.processes import ROOT

LEFT_OUT = (".git", ".venv", "var", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")


@dataclass(frozen=True)
class Edit:
    """A text that occurs exactly once in a file, and what it becomes."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Found:
    seed: int
    by: str


SABOTAGES: dict[str, list[Edit]] = {
    # What was started already gets no slot either.
    "start without the condition": [
        Edit(
            "integrations/braze/delivery/flush.py",
            'pk__among=ids, started_at=None, finished_at=None).values_list("pk", "endpoint")',
            'pk__among=ids).values_list("pk", "endpoint")',
        ),
        Edit(
            "integrations/braze/delivery/ledger.py",
            "= chosen.id AND started_at IS NULL AND finished_at IS NULL RETURNING",
            "= chosen.id RETURNING",
        ),
    ],
    "busy customers not left out": [
        Edit(
            "integrations/braze/composing/taking.py",
            "                if customer not in passed:\n                    found.setdefault(customer, pk)",
            "                found.setdefault(customer, pk)",
        )
    ],
    "mirror before verdict": [
        Edit(
            "integrations/braze/delivery/profiles.py",
            "if line.told in (ObjectFate.DELIVERED, ObjectFate.UNKNOWN) or",
            "if line.told in (ObjectFate.DELIVERED, ObjectFate.UNKNOWN, ObjectFate.RETRY) or",
        )
    ],
    # What a stale relay composed is refused three times: by its lease, and twice because the entries have moved on.
    "no token on the lease": [
        Edit(
            "integrations/outbox/lease.py",
            'AND token = %s AND expires_at > {now}"',
            'AND %s IS NOT NULL"',
        ),
        Edit(
            "integrations/braze/composing/committing.py",
            "pk__among=ids, status__unindexed=Status.PENDING).update(**changes) != len(ids):",
            "pk__among=ids).update(**changes) != len(ids):",
        ),
        Edit(
            "integrations/braze/composing/committing.py",
            "return OutboxEntry.objects.filter(pk__among=ids, status__unindexed=Status.PENDING)",
            "return OutboxEntry.objects.filter(pk__among=ids)",
        ),
        Edit(
            "integrations/outbox/transitions.py",
            "AND {still_pending}'",
            "AND %s IS NOT NULL'",
        ),
    ],
    "ledger after the request": [
        Edit(
            "integrations/braze/delivery/flush.py",
            "won = ledger.start_all(delivery_ids, self.mark)",
            "won = set(ledger.unstarted(self.account_id).filter(pk__among=delivery_ids).values_list('pk', flat=True))",
        ),
        Edit(
            "integrations/braze/delivery/flush.py",
            "            yield from insisting.settle(self.account_id, answers, self._meanwhile)",
            "            ledger.start_all([each.delivery_id for each in answers])\n"
            "            yield from insisting.settle(self.account_id, answers, self._meanwhile)",
        ),
    ],
    "index taken across arrays": [
        Edit(
            "integrations/braze/delivery/verdicts.py",
            "return self.fates.get((array, index), self.by_array.get(array, self.otherwise))",
            "return {at: fate for (_, at), fate in self.fates.items()}.get(index, self.otherwise)",
        )
    ],
    "400 retried whole": [
        Edit(
            "integrations/braze/delivery/verdicts.py",
            "traffic = Traffic.COMBINE if is_too_many else Traffic.SPLIT",
            "traffic = Traffic.COMBINE if is_too_many else Traffic.BACK_OFF",
        )
    ],
    # Off is off three times over: the rule at composing, and requests and relays that were under way are revoked.
    "toggle checked only at capture": [
        Edit(
            "integrations/braze/composing/rules.py",
            '    if not settings.sync_events:\n        return "Events is switched off"\n',
            "",
        ),
    ],
    "limiter failing open": [
        Edit(
            "integrations/braze/delivery/limiter.py",
            "return Slots(granted, microseconds / 1_000_000)",
            "return Slots(wanted, 0.0)",
        )
    ],
    "reversal before its sale": [
        Edit(
            "integrations/braze/composing/compose.py",
            "any(_is_unresolved(row) for row in known if row.customer_external_id == result.customer)",
            "False",
        ),
        Edit(
            "integrations/braze/composing/compose.py",
            "if not sale.is_reversal and sale.fate == Fate.DELIVERED",
            "if not sale.is_reversal",
        ),
    ],
}


#: Defects that only some faults can bring to light, and these.
OFTEN = {"start without the condition": "repeat_requests", "no token on the lease": "freeze_relay"}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    missed = 0
    for name in options.names or SABOTAGES:
        begun = time.monotonic()
        found = run(SABOTAGES[name], options.seeds, options.steps, OFTEN.get(name))
        missed += found is None
        words = f"red at seed {found.seed} by {found.by}" if found else f"GREEN after {options.seeds} seeds"
        print(f"{name:32} {words} ({time.monotonic() - begun:.0f} s)", flush=True)
    return 1 if missed else 0


def run(edits: list[Edit], seeds: int, steps: int, often: str | None = None) -> Found | None:
    """What the harness finds in a sabotaged copy; None where it finds nothing."""
    with tempfile.TemporaryDirectory(prefix="sabotage-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        _apply(edits, copy)
        command = [sys.executable, "-m", "tests.e2e.harness.torture", "--until-broken", "--settle-seconds", "30"]
        command += ["--seeds", str(seeds), "--steps", str(steps), *(["--often", often] if often else [])]
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    broken = re.search(r"^seed (\d+): BROKEN.*\n.*\n  (.+)", done.stdout, flags=re.MULTILINE)
    if broken is None:
        raise RuntimeError(f"the harness itself failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return Found(int(broken[1]), broken[2][:120])


def _apply(edits: list[Edit], tree: Path) -> None:
    for edit in edits:
        path = tree / edit.path
        text = path.read_text()
        if text.count(edit.old) != 1:
            raise ValueError(f"{edit.path} has not exactly one of: {edit.old}")
        path.write_text(text.replace(edit.old, edit.new))


if __name__ == "__main__":
    sys.exit(main())

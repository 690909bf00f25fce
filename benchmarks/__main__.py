"""`python -m benchmarks`: every measurement in turn, and what each comes to beside the others. Some ten minutes."""

import json
import subprocess
import sys
from typing import Any

from benchmarks import report

NAIVE, DRAIN = "naive --changes 1200", "drain --scale 0.45"
LATE, LATE_CEILING = f"{DRAIN} --latency-ms 100 --first 2", "ceiling --latency-ms 100"
BESIDE_OTHERS = ("ceiling", LATE_CEILING, NAIVE, DRAIN, LATE)
ALL = ("map", *BESIDE_OTHERS, "capture", "latency", "fill", "workers", "audience", "growth")


def main() -> int:
    results: dict[str, list[dict[str, Any]]] = {}
    for command in ALL:
        results[command] = measured(command)
    events = next(row for row in results[DRAIN] if row["workload"] == "events")["changes/s"]
    naive, ceiling = results[NAIVE][0]["changes/s"], results["ceiling"][0]["objects/s"]
    late = next(row for row in results[LATE] if row["workload"] == "events")["changes/s"]
    late_ceiling = results[LATE_CEILING][0]["objects/s"]
    ratios = {
        "events/s": events, "times the ordinary design": round(events / naive, 1),
        "share of the ceiling": round(events / ceiling, 2), "at 100 ms latency": round(late / events, 2),
        "share of the ceiling then": round(late / late_ceiling, 2),
    }  # fmt: skip
    report.show("in one run", [ratios])
    return 0


def measured(command: str) -> list[dict[str, Any]]:
    """A process each: every one has a database and a Redis of its own."""
    name, *arguments = command.split()
    done = subprocess.Popen([sys.executable, "-m", f"benchmarks.{name}", *arguments], stdout=subprocess.PIPE, text=True)
    rows: list[dict[str, Any]] = []
    for line in done.stdout or ():
        if not line.startswith('{"benchmark"'):
            print(line, end="", flush=True)
            continue
        told = json.loads(line)
        rows = told["rows"] if told["benchmark"] == name else rows
    if done.wait():
        raise SystemExit(f"benchmarks.{name} failed")
    return rows


if __name__ == "__main__":
    sys.exit(main())

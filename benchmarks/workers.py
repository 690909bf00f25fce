"""`python -m benchmarks.workers [--scale X]`: the same work for four accounts by 1, 2 and 4 relay processes.

On a machine of few cores more processes do not do more; what is shown is that they share what there is to do.
"""

import argparse
from typing import Any

from benchmarks import report
from benchmarks.rig import Rig, rig
from dev.stack import WORKERS

ACCOUNTS = 4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    with rig() as running:
        report.show("workers", run(running, options.scale))


def run(running: Rig, scale: float) -> list[dict[str, object]]:
    from benchmarks import shop

    accounts = [shop.account(f"shared-{number}", running.sandbox.url) for number in range(ACCOUNTS)]
    people = [shop.customers(account, int(2_000 * scale)) for account in accounts]
    running.start(*(name for name in WORKERS if name != "worker"))
    rows = []
    for number, processes in enumerate((1, 2, 4)):
        running.env["RELAY_CONCURRENCY"] = str(processes)
        running.start("worker")
        shop.seconds_until_settled(*accounts)
        for place, (account, theirs) in enumerate(zip(accounts, people, strict=True)):
            shop.pause(account)
            shop.events(account, theirs, int(6_000 * scale), seed=100 + 10 * place + number)
        rows.append(_row(running, accounts, processes, int(6_000 * scale) * ACCOUNTS))
        running.stop("worker")
    return rows


def _row(running: Rig, accounts: list[Any], processes: int, changes: int) -> dict[str, object]:
    from benchmarks import shop

    before = _processor_seconds(running)
    for account in accounts:
        shop.resume(account)
    seconds = shop.seconds_until_settled(*accounts)
    worked = sorted(after - before.get(pid, 0.0) for pid, after in _processor_seconds(running).items())
    return {
        "relay processes": processes, "changes/s": round(changes / seconds),
        "seconds of work each": ", ".join(f"{each:.1f}" for each in worked),
    }  # fmt: skip


def _processor_seconds(running: Rig) -> dict[int, float]:
    """Of the relay's processes, by pid; in hundredths of a second, as Linux counts."""
    parent = running.processes["worker"].pid
    seconds = {}
    with open(f"/proc/{parent}/task/{parent}/children") as children:  # noqa: PTH123 - a kernel's file
        pids = [int(pid) for pid in children.read().split()]
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a kernel's file
            fields = stat.read().rpartition(")")[2].split()
        seconds[pid] = (int(fields[11]) + int(fields[12])) / 100
    return seconds


if __name__ == "__main__":
    main()

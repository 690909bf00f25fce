"""`python -m benchmarks.growth [--backlogs 10000,100000,1000000]`: rates and memory as backlogs grow, and the sweep.

Real workers drain each backlog for some seconds.
"""

import argparse
import time

from benchmarks import report
from benchmarks.rig import Rig, rig
from dev.stack import WORKERS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backlogs", default="10000,100000,1000000", help="3000000 as well, for a long look")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with rig() as running:
        report.show("growth", run(running, [int(size) for size in options.backlogs.split(",")], options.seconds))
        report.show("sweep", [sweep()])


def run(running: Rig, backlogs: list[int], seconds: float) -> list[dict[str, object]]:
    from django.db import connection

    from benchmarks import shop
    from dev import backlog
    from integrations.outbox.models import OutboxEntry

    running.start(*WORKERS)
    account = shop.account("growth", running.sandbox.url)
    shop.customers(account, 20_000)
    moving = OutboxEntry.objects.filter(account=account, status__in=("pending", "buffered"))
    shop.seconds_until_settled(account)
    rows = []
    for size in backlogs:
        shop.pause(account)
        backlog.add_events(account.pk, size - moving.count())
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
        before = moving.count()
        shop.resume(account)
        took = shop.seconds_until_settled(account, most=seconds)
        rows.append({"backlog": before, "events/s": round((before - moving.count()) / took), **_memory(running)})
    return rows


def _memory(running: Rig) -> dict[str, object]:
    """Resident MB of the largest process of each kind."""
    return {f"{name} MB": max(map(_resident, _family(running.processes[name].pid))) for name in ("worker", "backlog")}


def _family(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:  # noqa: PTH123 - a kernel's file
        return [pid, *map(int, children.read().split())]


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:  # noqa: PTH123 - a kernel's file
        return int(statm.read().split()[1]) * 4096 // 1_000_000


def sweep(accounts: int = 1_000, busy: int = 10) -> dict[str, object]:
    """What the two ticks of each second cost where most accounts have nothing to do."""
    from unittest import mock

    from benchmarks import shop
    from integrations.braze.delivery import flush
    from integrations.outbox import nudge
    from integrations.outbox import sweep as sweeping
    from masivo_braze.loyalty.models import Event

    shop.idle_accounts(accounts - busy)
    for number in range(busy):
        account = shop.account(f"busy-{number}", "")
        (customer,) = shop.customers(account, 1)
        Event.objects.create(account=account, customer=customer, type="SEEN")
    with mock.patch.object(nudge, "publish") as published:
        begun = time.perf_counter()
        sweeping.sweep()
        swept = time.perf_counter() - begun
    begun = time.perf_counter()
    flush.due_accounts()
    return {
        "accounts": accounts, "found": published.call_count, "sweep ms": round(swept * 1000, 1),
        "due for flushing ms": round((time.perf_counter() - begun) * 1000, 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()

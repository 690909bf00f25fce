"""`python -m benchmarks.latency [--seconds S]`: from commit to accepted by Braze, at 1, 50 and 500 changes a second."""

import argparse
import time

from benchmarks import report
from benchmarks.rig import Rig, rig
from dev.stack import WORKERS

RATES = (1, 50, 500)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with rig() as running:
        report.show("latency", run(running, options.seconds))


def run(running: Rig, seconds: float) -> list[dict[str, object]]:
    from benchmarks import shop
    from integrations.outbox.models import OutboxEntry

    running.start(*WORKERS)
    account = shop.account("latency", running.sandbox.url)
    people = shop.customers(account, 2_000)
    moving = OutboxEntry.objects.filter(account=account, status__in=("pending", "buffered"))
    _until_none(moving)
    rows = []
    for rate in RATES:
        last = OutboxEntry.objects.order_by("-pk").values_list("pk", flat=True)[0]
        _write(account, people, rate, seconds)
        _until_none(moving)
        rows.append(_row(rate, last))
    return rows


def _write(account: object, people: list[object], rate: int, seconds: float) -> None:
    """Each change a transaction of its own, as steadily as one process can write them."""
    from masivo_braze.loyalty.models import Event

    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        Event.objects.create(account=account, customer=people[number % len(people)], type="SEEN")
        time.sleep(max(begun + (number + 1) / rate - time.perf_counter(), 0))


def _until_none(rows: object) -> None:
    while rows.exists():  # type: ignore[attr-defined]  # a queryset
        time.sleep(0.05)


def _row(rate: int, after: int) -> dict[str, object]:
    """From the moment the change was captured, just before its commit, to the settlement of Braze's answer."""
    from django.db.models import F

    from integrations.outbox.models import OutboxEntry

    mine = OutboxEntry.objects.filter(pk__gt=after, status="delivered").annotate(took=F("settled_at") - F("created_at"))
    took = sorted(each.total_seconds() * 1000 for each in mine.values_list("took", flat=True))
    return {
        "changes/s": rate, "changes": len(took), "p50 ms": round(took[len(took) // 2]),
        "p99 ms": round(took[int(len(took) * 0.99)]), "max ms": round(took[-1]),
    }  # fmt: skip


if __name__ == "__main__":
    main()

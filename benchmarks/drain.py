"""`python -m benchmarks.drain [--scale X] [--latency-ms MS] [--first N]`: captured changes → delivered and settled.

By the Procfile's own workers; `--first`: only so many of the workloads.
"""

import argparse
from collections.abc import Callable
from itertools import islice
from typing import Any

from benchmarks import report
from benchmarks.rig import Rig, rig
from dev.stack import WORKERS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--first", type=int, help="only so many of the workloads")
    options = parser.parse_args()
    with rig(options.latency_ms) as running:
        report.show("drain", run(running, options.scale, options.first))


def run(running: Rig, scale: float, first: int | None = None) -> list[dict[str, object]]:
    """A row a workload. Each is captured while the account is paused; the clock runs from its resumption."""
    from benchmarks import shop

    running.start(*WORKERS)
    account = shop.account("bench", running.sandbox.url)
    number = int(40_000 * scale)
    people = []

    def create() -> None:
        people.extend(shop.customers(account, number))

    def mixed() -> None:
        shop.events(account, people, number // 2, seed=11)
        shop.edits(people, number // 4, seed=12)
        shop.orders(account, people, number // 8, seed=13)

    workloads: dict[str, Callable[[], None]] = {
        "customers created": create,
        "events": lambda: shop.events(account, people, int(60_000 * scale)),
        "customer edits": lambda: shop.edits(people, number),
        "orders": lambda: shop.orders(account, people, number // 4),
        "mixed": mixed,
    }
    return [measure(name, account, capture) for name, capture in islice(workloads.items(), first)]


def measure(name: str, account: Any, capture: Callable[[], None]) -> dict[str, object]:
    from benchmarks import shop
    from integrations.braze.models import Delivery
    from integrations.outbox.models import OutboxEntry

    shop.pause(account)
    capture()
    last = Delivery.objects.order_by("-created_at").values_list("created_at", flat=True).first()
    captured = OutboxEntry.objects.filter(status="pending").count()
    shop.count_rows()
    shop.resume(account)
    seconds = shop.seconds_until_settled(account)
    made = Delivery.objects.filter(created_at__gt=last) if last else Delivery.objects.all()
    requests, objects = made.count(), sum(sum(row) for row in made.values_list("attributes", "events", "purchases"))
    return {
        "workload": name, "changes": captured, "objects": objects, "requests": requests,
        "seconds": round(seconds, 2), "changes/s": round(captured / seconds), "objects/s": round(objects / seconds),
    }  # fmt: skip


if __name__ == "__main__":
    main()

"""`python -m benchmarks.capture [--saves N]`: what capture adds to a save and to `bulk_create`, on PostgreSQL.

Each figure is a ratio to the same work with the outbox's receivers disconnected; rounds of both take turns, and the
quickest round counts, so that what else the machine does falls on neither.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from benchmarks import report
from benchmarks.rig import Rig, rig

ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--bulk", type=int, default=10_000)
    options = parser.parse_args()
    with rig() as running:
        report.show("capture", run(running, options.saves, options.bulk))


def run(running: Rig, saves: int, bulk: int) -> list[dict[str, object]]:
    from django.db import transaction

    from benchmarks import shop
    from integrations.outbox import registry
    from masivo_braze.loyalty.models import Event

    account = shop.account("capture", running.sandbox.url)
    (customer,) = shop.customers(account, 1)
    nobody = mock.patch.object(registry, "_integrations", {})
    no_nudges = mock.patch("integrations.outbox.nudge.after_commit")

    def event() -> Event:
        return Event(account=account, customer=customer, type="SEEN", data={"page": 1})

    def one_each() -> None:
        for _ in range(saves):
            with transaction.atomic():
                event().save()

    @transaction.atomic
    def many_in_one() -> None:
        for _ in range(saves):
            event().save()

    def in_bulk() -> None:
        Event.objects.bulk_create(event() for _ in range(bulk))

    with no_nudges:
        rows = [
            _row("a save in its own transaction", one_each, saves),
            _row("many saves in one transaction", many_in_one, saves),
            _row(f"bulk_create of {bulk:,}", in_bulk, bulk),
        ]
        with nobody:
            rows.append(_row("a save, no integration installed", one_each, saves))
    return rows


def _row(what: str, work: Callable[[], None], count: int) -> dict[str, object]:
    bare, captured = float("inf"), float("inf")
    for _ in range(ROUNDS):
        with _disconnected():
            bare = min(bare, _seconds(work))
        captured = min(captured, _seconds(work))
    return {
        "what": what, "bare µs": round(bare / count * 1e6), "captured µs": round(captured / count * 1e6),
        "ratio": round(captured / bare, 2),
    }  # fmt: skip


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@contextmanager
def _disconnected() -> Iterator[None]:
    """Loyalty alone, as if the outbox were not installed."""
    from django.db.models.signals import post_save

    from integrations.outbox import receivers
    from masivo_braze.loyalty.models import Event
    from masivo_braze.loyalty.signals import rows_changed

    post_save.disconnect(sender=Event, dispatch_uid="outbox.event_saved")
    rows_changed.disconnect(dispatch_uid="outbox.bulk_changed")
    try:
        yield
    finally:
        receivers.connect()


if __name__ == "__main__":
    main()

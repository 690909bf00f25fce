"""A week of requests for the health pages, up to now: these show the last hour, day and week, whatever the date."""

import math
import random
from datetime import timedelta
from typing import Any

SKIPPED = (
    {"kind": "customer_updated", "error": "nothing changed: Braze already has this"},
    {"kind": "order", "error": "the order was never fulfilled"},
    {"kind": "event", "error": "FULFILL is an internal event"},
    {"kind": "customer_updated", "error": "nothing changed: Braze already has this"},
)


def add(account: Any) -> None:
    """Requests as a shop's week makes them: more by day, a bad hour, every seventh minute a request."""
    from integrations.braze.models import Delivery
    from integrations.outbox.clock import database_now

    chance, now = random.Random(7), database_now()  # noqa: S311  # a picture needs no secrets
    rows = []
    for minute in [*range(1, 60), *range(60, 10_000, 7)]:
        at = now - timedelta(minutes=minute, seconds=20)
        busy = 1.2 + math.sin(minute / 229)
        sizes = {
            "attributes": int(40 * busy * chance.random()),
            "events": int(70 * busy * chance.random()),
            "purchases": int(25 * busy * chance.random()),
        }
        outcome = "retry" if chance.random() < 0.03 or 30 < minute < 34 else "accepted"
        row = Delivery(account=account, endpoint="track", created_at=at, outcome=outcome, **sizes)
        row.started_at, row.finished_at = at + timedelta(milliseconds=60), at + timedelta(milliseconds=310)
        row.status_code, row.bytes = 503 if outcome == "retry" else 201, 220 * sum(sizes.values())
        rows.append(row)
    Delivery.objects.bulk_create(rows)
    _changes(account, rows[:10])


def _changes(account: Any, requests: list[Any]) -> None:
    """What the newest requests carried, for the delay; and what still waits does so by rule, since no worker runs."""
    from integrations.outbox.clock import database_now
    from integrations.outbox.models import OutboxEntry

    mine = {"account": account, "integration": "braze", "customer_external_id": "C-1005"}
    for number, request in enumerate(requests):
        captured = request.created_at - timedelta(milliseconds=120 + 40 * number)
        times = {"created_at": captured, "settled_at": request.finished_at}
        sent = OutboxEntry.objects.create(**mine, kind="event", status="delivered", batch=request.pk, **times)
        request.manifest = {"events": [{"customer": "C-1005", "entries": [sent.pk], "creates": True}]}
        request.save(update_fields=["manifest"])
        OutboxEntry.objects.create(**mine, **SKIPPED[number % len(SKIPPED)], status="skipped", **times)
    OutboxEntry.objects.filter(status="pending").update(due_at=database_now() + timedelta(days=1))

"""`python -m benchmarks.map [--count N]`: records in memory → packed, serialised bodies. One core, no database.

Mapped in rounds as large as the relay's. Orders are counted, not their lines; a customer's edit is a delta against
the mirror.
"""

import argparse
import gc
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from benchmarks import report

if TYPE_CHECKING:
    from integrations.braze.composing.records import Records
    from integrations.braze.mapping.objects import Entry
    from integrations.braze.mapping.rows import CustomerRow
    from integrations.braze.models import BrazeSettings

    #: A round: what is taken together, and what it is about.
    Round = tuple[list[Entry], Records]

NOW = datetime(2026, 11, 24, tzinfo=UTC)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(SORTS))
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.local"
    import django

    django.setup()
    report.show("map", run(options.count, options.rounds, options.only))


def run(count: int, rounds: int, only: str | None = None) -> list[dict[str, object]]:
    """The best of some rounds, by processor time: what else the machine does is not ours."""
    return [_row(sort, count, rounds) for sort in SORTS if only in (None, sort)]


def _row(sort: str, count: int, rounds: int) -> dict[str, object]:
    from dev.sample import TOGGLES
    from integrations.braze.composing.taking import TAKE
    from integrations.braze.models import BrazeSettings

    settings = BrazeSettings(**dict.fromkeys(TOGGLES, True))
    loaded = [SORTS[sort](random.Random(start), min(TAKE, count - start)) for start in range(0, count, TAKE)]
    gc.collect()
    gc.freeze()  # records that wait to be mapped are no work of the mapping's garbage collector
    best, requests, size = min(_timed(loaded, settings) for _ in range(rounds))
    return {
        "what": sort, "count": count, "requests": requests, "bytes": size, "core seconds": round(best, 3),
        "µs each": round(best / count * 1e6, 1), "a second on one core": round(count / best),
    }  # fmt: skip


def _timed(loaded: "list[Round]", settings: "BrazeSettings") -> tuple[float, int, int]:
    begun, requests, size = time.process_time(), 0, 0
    for entries, records in loaded:
        bodies = _bodies(entries, records, settings)
        requests += len(bodies)
        size += sum(map(len, bodies))
    return time.process_time() - begun, requests, size


def _bodies(entries: "list[Entry]", records: "Records", settings: "BrazeSettings") -> list[bytes]:
    """As the relay makes them (`relay._compose`)."""
    from integrations.braze.composing import compose, packing

    by_customer: dict[str, list[Entry]] = {}
    for entry in entries:
        by_customer.setdefault(entry.customer_external_id, []).append(entry)
    bundles = [compose.bundle(customer, theirs, settings, records, NOW) for customer, theirs in by_customer.items()]
    return [packing.body(draft) for draft in packing.pack(bundles, settings.batch_limit)]


# --- what is mapped -------------------------------------------------------------------------------------


def events(chance: random.Random, count: int) -> "Round":
    from benchmarks.shop import event_data
    from integrations.braze.composing.records import Records
    from integrations.braze.mapping.objects import Entry
    from integrations.braze.mapping.rows import CustomerName, EventRow

    entries, records = [], {}
    for number in range(count):
        customer = CustomerName(f"c-{chance.randrange(50_000):07}")
        pk = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        at = BEGIN + timedelta(microseconds=chance.randrange(10**12))
        records[pk] = EventRow(pk, "ADD_TO_CART", at, event_data(chance), customer)
        entries.append(Entry(number, "event", customer.external_id, pk, {}))
    return entries, Records({}, records, {}, {}, {}, {})


def edits(chance: random.Random, count: int) -> "Round":
    """Two attributes and a tag each, of different customers whom Braze knows."""
    from integrations.braze.composing.records import Records
    from integrations.braze.mapping import customers
    from integrations.braze.mapping.objects import Entry
    from integrations.braze.mapping.rows import Mirrored

    entries, edited, profiles = [], {}, {}
    for number, before in enumerate(_customers(chance, count)):
        mapped = customers.profile(before, NOW.date())
        mapped |= customers.tags(before)
        held = {name: value for name, value in mapped.values.items() if value is not None}
        profiles[before.external_id] = replace(Mirrored(1, before.external_id, is_known=True), attributes=held)
        edited[before.external_id] = before._replace(
            points=before.points + chance.randrange(1, 500),
            tier=chance.choice(("silver", "platinum", "bronze")),
            tags={**before.tags, "visits": chance.randrange(100, 10_000)},
        )
        entries.append(Entry(number, "customer_updated", before.external_id, "", {}))
    return entries, Records(dict(edited), {}, {}, {}, {}, profiles)


def _customers(chance: random.Random, count: int) -> "Iterator[CustomerRow]":
    from benchmarks.shop import customer
    from integrations.braze.mapping.rows import CustomerRow

    for number in chance.sample(range(10**7), count):
        made = customer(None, number)  # type: ignore[arg-type]
        yield CustomerRow._make(getattr(made, name) for name in CustomerRow._fields)


def orders(chance: random.Random, count: int) -> "Round":
    """Fulfilled, of one to three lines."""
    from benchmarks.shop import lines
    from integrations.braze.composing.records import Records
    from integrations.braze.mapping.objects import Entry
    from integrations.braze.mapping.rows import CustomerName, LineRow, Lines, OrderRow

    entries, records = [], {}
    for number in range(count):
        customer = CustomerName(f"c-{chance.randrange(50_000):07}")
        moment = BEGIN + timedelta(microseconds=chance.randrange(10**12))
        made = Lines(LineRow._make(getattr(line, name) for name in LineRow._fields) for line in lines(None, chance))  # type: ignore[arg-type]
        records[str(number)] = OrderRow(
            customer, made, "USD", number, 1, f"o-{number:07}", "FULFILLED", moment, None, "web", "Main Street", "card"
        )
        entries.append(Entry(number, "order", customer.external_id, str(number), {"status": "FULFILLED"}))
    return entries, Records({}, {}, records, {}, {}, {})


SORTS: dict[str, Callable[[random.Random, int], Any]] = {"events": events, "customer edits": edits, "orders": orders}


if __name__ == "__main__":
    main()

"""What the product's own books say about the sync."""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.core.management import call_command
from django.db.models import Count

from dev.demo.held import Held
from dev.demo.table import table
from dev.demo.totals import Totals
from integrations.braze.models import BrazePurchase, Delivery
from integrations.braze.models.purchase import Fate
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account

FATES = ("delivered", "skipped", "rejected", "unknown", "discarded")


def on_the_way(account: Account) -> int:
    """Captured changes that have not ended anywhere yet."""
    now = status(account)
    waiting: int = now["pending"] + now["buffered"]
    return waiting


def captured(account: Account) -> str:
    """A table: each kind of change and where its entries ended."""
    entries = OutboxEntry.objects.filter(account=account)
    counts = Counter(
        {(kind, fate): number for kind, fate, number in entries.values_list("kind", "status").annotate(Count("id"))}
    )
    rows = []
    for kind in sorted({kind for kind, _ in counts}):
        ends = [counts[kind, fate] for fate in FATES]
        rows.append([kind, sum(ends), *ends])
    rows.append(["in all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    return table(["change", "captured", *FATES], rows)


def requests(account: Account) -> str:
    """One line: how many requests carried how many objects."""
    ledger = Delivery.objects.filter(account=account, started_at__isnull=False)
    sent = [sum(row) for row in ledger.values_list("attributes", "events", "purchases", "deletions")]
    return f"{len(sent)} requests carried {sum(sent):,} objects"


def lost(account: Account, held: Held) -> tuple[Totals, dict[str, Decimal]]:
    """What the ledger lists as unknown and Braze does not hold: the totals, and the dollars by customer."""
    purchases = BrazePurchase.objects.filter(account=account, fate=Fate.UNKNOWN)
    purchases = purchases.exclude(purchase_id__in=held.purchase_ids)
    events = OutboxEntry.objects.filter(account=account, kind=Kind.EVENT, status=Status.UNKNOWN)
    dollars: dict[str, Decimal] = defaultdict(Decimal)
    for purchase in purchases:
        dollars[purchase.customer_external_id] += purchase.price * purchase.quantity
    totals = Totals(
        order_lines=len(set(purchases.values_list("order_id", "line")) - held.lines),
        discs=sum(purchase.quantity for purchase in purchases),
        revenue=sum(dollars.values(), Decimal(0)),
        events=events.exclude(subject__in=held.event_ids).count(),
    )
    return totals, dict(dollars)


def status(account: Account) -> dict[str, Any]:
    """The account's line of `braze_status --json`."""
    output = io.StringIO()
    call_command("braze_status", "--json", stdout=output)
    lines: Iterable[dict[str, Any]] = json.loads(output.getvalue())["accounts"]
    return next(line for line in lines if line["account"] == account.slug)

"""How an order now differs from what Braze was sent of it."""

from collections.abc import Sequence
from decimal import Decimal

from integrations.braze.mapping import money
from integrations.braze.mapping.purchases import currency_of, product_of, sent_of, totals_due
from integrations.braze.models import BrazePurchase, Fate
from masivo_braze.loyalty.models import Order, OrderLine

#: What Braze has, may have or is about to get.
SENT = (Fate.DELIVERED, Fate.UNKNOWN, Fate.BUFFERED)


def differences(order: Order, rows: Sequence[BrazePurchase]) -> list[str]:
    """In words, the lines that are no longer as Braze was sent them. (Editing a sent line sends nothing.)"""
    sold = [row for row in rows if not row.is_reversal and row.fate in SENT]
    lines = {line.position: line for line in order.lines.all()}
    totals = totals_due(order, sent_of(rows))
    found = []
    for position in dict.fromkeys(row.line for row in sold):
        was = _sent([row for row in sold if row.line == position])
        line = lines.get(position)
        now = _due(order, line, totals[position]) if line else "no longer there"
        if was != now:
            found.append(f"line {position}: sent {was}, now {now}")
    return found


def _sent(rows: Sequence[BrazePurchase]) -> str:
    total = sum((row.price * row.quantity for row in rows), Decimal(0))
    return _words(sum(row.quantity for row in rows), rows[0].product_id, total, rows[0].currency)


def _due(order: Order, line: OrderLine, total: Decimal) -> str:
    return _words(line.quantity, product_of(line, []), total, currency_of(order))


def _words(quantity: int, product_id: str, total: Decimal, currency: str) -> str:
    return f"{quantity} × {product_id} for {total.quantize(money.smallest_unit(currency)):f} {currency}"

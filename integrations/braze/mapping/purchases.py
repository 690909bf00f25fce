"""An order's lines as objects of Braze's `purchases` array, and their negation [Braze: purchase object]."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from integrations.braze.mapping import money
from integrations.braze.mapping.events import past
from integrations.braze.mapping.properties import MAX_PROPERTIES, Names, flattened, lightened
from integrations.braze.mapping.rows import AnyLine, AnyOrder, AnyPurchase, PurchaseRow
from integrations.braze.mapping.text import cleaned, fitted
from integrations.braze.mapping.values import ORIGINAL_TIME, Mapped, is_exact, number
from integrations.braze.models import Fate

#: Property names that Braze refuses, and our own.
RESERVED = frozenset({"time", "product_id", "quantity", "event_name", "price", "currency"})
OF_ORDER = ("product_name", "channel", "store", "payment_method")
OWN = frozenset({"order_id", "line", "purchase_id", "reversal", ORIGINAL_TIME, *OF_ORDER})
_NAMES = Names(RESERVED | OWN)
#: Braze: purchase properties of up to 50 KB.
MAX_BYTES = 51_200
#: Kept free for `reversal` and `original_time`, which may be added later.
_LATER_BYTES = 100
#: The most that our own properties take: six texts of 255 characters of at most six bytes, with their names.
_MOST_OF_OWN = 10_000
#: A longer order id is shortened within a purchase id, which has to stay under 255 characters.
_MOST_OF_ORDER_ID = 200
NO_PRODUCT = "(no SKU)"
#: A line of more units, which nobody buys, would take more purchases of a hundred than a relay can make in its time.
MOST_UNITS = 1_000_000


def sales(order: AnyOrder, sent: Mapping[int, Decimal], now: datetime) -> tuple[list[PurchaseRow], list[str]]:
    """Unsaved purchase rows for those lines of a fulfilled order that have none yet, and the adjustments.

    `sent` is what the other lines' rows come to (`sent_of`). There is one row per price and hundred units. A row that
    Braze would refuse is rejected here, with the reason.
    """
    adjustments: list[str] = []
    totals = totals_due(order, sent)
    rows = [
        row
        for line in order.lines.all()
        if line.position not in sent
        for row in _of_line(order, line, totals[line.position], now, adjustments)
    ]
    return rows, adjustments


def sent_of(rows: Iterable[AnyPurchase]) -> dict[int, Decimal]:
    """What an order's rows come to, by position of their line, in the order in which the lines got them."""
    sent: dict[int, Decimal] = {}
    for row in rows:
        if not row.is_reversal:
            sent[row.line] = sent.get(row.line, Decimal(0)) + row.price * row.quantity
    return sent


def reversal(sale: AnyPurchase, closed_at: datetime) -> PurchaseRow:
    """An unsaved row that negates `sale`: a further purchase at the negative price [Braze: purchase events]."""
    return PurchaseRow(
        account_id=sale.account_id,
        customer_external_id=sale.customer_external_id,
        order_id=sale.order_id,
        line=sale.line,
        part=sale.part,
        is_reversal=True,
        purchase_id=f"{sale.purchase_id}:R",
        product_id=sale.product_id,
        price=-sale.price,
        quantity=sale.quantity,
        currency=sale.currency,
        time=closed_at,
        properties={**sale.properties, "reversal": True},
    )


def purchase(row: AnyPurchase, now: datetime) -> Mapped:
    """The purchase as JSON, and the adjustments."""
    adjustments: list[str] = []
    properties = {**row.properties, **_ids(row.order_id, row.line, row.purchase_id)}
    body = {
        "external_id": row.customer_external_id,
        "product_id": row.product_id,
        "currency": row.currency,
        "price": number(row.price),
        "quantity": row.quantity,
        "time": past(row.time, now, properties, adjustments),
        "properties": properties,
    }
    return orjson.dumps(body), tuple(adjustments)


# --- rows -----------------------------------------------------------------------------------------------


def totals_due(order: AnyOrder, sent: Mapping[int, Decimal]) -> dict[int, Decimal]:
    """What is due for each line, by position, in whole smallest units that add up to the order's total.

    Rounding goes line by line. Lines that have rows come first, in the order in which they got them, with what was
    sent: a line that was refused, and is made anew after them, gets what is missing. Lines that are refused come last,
    so that the others stay right once these are corrected.
    """
    place = {position: index for index, position in enumerate(sent)}

    def rank(line: AnyLine) -> tuple[int, bool, int]:
        return (place.get(line.position, len(place)), line.quantity > MOST_UNITS, line.position)

    lines = sorted(order.lines.all(), key=rank)
    given = [sent.get(line.position) for line in lines]
    totals = money.rounded([line.paid for line in lines], currency_of(order), given)
    return {line.position: total for line, total in zip(lines, totals, strict=True)}


def _of_line(
    order: AnyOrder, line: AnyLine, total: Decimal, now: datetime, adjustments: list[str]
) -> list[PurchaseRow]:
    currency, fulfilled_at = currency_of(order), order.fulfilled_at
    if fulfilled_at is None:
        raise ValueError(f"order {order.order_id} was never fulfilled")
    if total != line.paid:
        adjustments.append(f"line {line.position}: {line.paid.normalize():f} {currency} is sent as {total} {currency}")
    product_id, properties = product_of(line, adjustments), _properties(order, line, adjustments)
    purchase_id = f"{_short(order.order_id)}:{line.position}"
    rows = [
        PurchaseRow(
            account_id=order.account_id,
            customer_external_id=order.customer.external_id,
            order_id=order.order_id,
            line=line.position,
            part=part_number,
            purchase_id=f"{purchase_id}:{part_number}",
            product_id=product_id,
            price=part.price,
            quantity=part.quantity,
            currency=currency,
            time=fulfilled_at,
            properties=properties,
        )
        for part_number, part in enumerate(_parts(total, line.quantity, currency), start=1)
    ]
    return [_judged(row, line.quantity, now) for row in rows]


def _parts(total: Decimal, units: int, currency: str) -> list[money.Part]:
    return money.parts(total, units, currency) if units <= MOST_UNITS else [money.Part(total, units)]


def _judged(row: PurchaseRow, units: int, now: datetime) -> PurchaseRow:
    if units > MOST_UNITS:
        row.error = f"{units:,} units: a line is sent up to {MOST_UNITS:,}"
    elif row.currency not in money.CURRENCIES:
        row.error = f"“{row.currency}” is not a currency of ISO 4217, so Braze would refuse the purchase"
    elif not is_exact(row.price):
        row.error = f"{row.price} has more digits than Braze's numbers hold"
    if row.error:
        row.fate, row.settled_at = Fate.REJECTED, now
    return row


def currency_of(order: AnyOrder) -> str:
    """The ISO 4217 code, as Braze writes it."""
    return order.effective_currency.strip().upper()


def product_of(line: AnyLine, adjustments: list[str]) -> str:
    """Braze requires a product id: where a line has no SKU, the product's name stands in for it."""
    if sku := fitted(f"SKU of line {line.position}", line.sku.strip(), adjustments):
        return sku
    name = fitted("product_name", line.name.strip(), []) or NO_PRODUCT
    adjustments.append(f"line {line.position} has no SKU: {name} is sent as its product id")
    return name


def _short(order_id: str) -> str:
    fine = cleaned(order_id)
    if fine == order_id and len(fine) <= _MOST_OF_ORDER_ID:
        return fine
    digest = hashlib.sha256(order_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{fine[: _MOST_OF_ORDER_ID - 17]}~{digest[:16]}"


# --- properties -----------------------------------------------------------------------------------------


def _properties(order: AnyOrder, line: AnyLine, adjustments: list[str]) -> dict[str, Any]:
    values = (line.name, order.channel, order.store, order.payment_method)
    own = {name: fitted(name, value, adjustments) for name, value in zip(OF_ORDER, values, strict=True) if value}
    if not line.data:
        return own
    of_line = flattened(line.data, _NAMES, adjustments, MAX_PROPERTIES - len(OWN))
    if len(orjson.dumps(of_line)) < MAX_BYTES - _MOST_OF_OWN:
        return {**of_line, **own}
    longest = _ids(order.order_id, line.position, f"{_short(order.order_id)}:{line.position}:{line.quantity}:R")
    budget = MAX_BYTES - _LATER_BYTES - len(orjson.dumps({**own, **longest}))
    return {**lightened(of_line, budget, adjustments), **own}


def _ids(order_id: str, line: int, purchase_id: str) -> dict[str, Any]:
    return {"order_id": fitted("order_id", order_id, []), "line": line, "purchase_id": purchase_id}

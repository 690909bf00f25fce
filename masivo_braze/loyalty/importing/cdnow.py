"""The CDNOW format: one purchase a line, blank-separated.

    00004 0001 19970101  2   29.33

customer id in the full data set (the external id), customer id in the sample, date (YYYYMMDD), number of CDs,
dollars paid in all.
"""

import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

from masivo_braze.loyalty.importing.records import BadLineError, OrderRecord

#: Whose purchase, when, and the rest.
LINE = re.compile(r"\s*(\d{1,255})\s+\d+\s+(\d{8})\b(.*)", re.ASCII)
#: Cents are required: without them, a file that ends in the middle of an amount would have another amount.
PAID = re.compile(r"\s+(\d{1,9})\s+(\d{1,15}\.\d{2})\s*", re.ASCII)


class CdnowParser:
    """A customer's purchases of one day are numbered in file order, so that the same file gives the same order ids."""

    def __init__(self) -> None:
        self._purchases: Counter[tuple[str, str]] = Counter()

    def __call__(self, number: int, line: str) -> OrderRecord:
        match = LINE.fullmatch(line)
        if match is None:
            raise BadLineError("not a CDNOW line: customer id, id in the sample, date (YYYYMMDD), quantity, dollars")
        customer, date, rest = match.groups()
        # Bad lines count: once they are corrected, the purchases after them keep the ids that were sent to Braze.
        self._purchases[customer, date] += 1
        order_id = f"cdnow-{customer}-{date}-{self._purchases[customer, date]}"
        quantity, dollars = _paid(rest)
        noon = _noon(date)
        values = {"status": "FULFILLED", "currency": "USD", "placed_at": noon, "fulfilled_at": noon}
        disc = {"position": 1, "sku": "CD", "name": "Compact disc", "quantity": quantity, "value": dollars}
        return OrderRecord(number, order_id, customer, values, (disc,), makes_customer=True)


def _paid(rest: str) -> tuple[int, Decimal]:
    match = PAID.fullmatch(rest)
    if match is None:
        raise BadLineError("after the date: not the quantity, and the dollars with two decimals")
    quantity, dollars = match.groups()
    if int(quantity) < 1:
        raise BadLineError("the quantity must be at least 1")
    return int(quantity), Decimal(dollars)


def _noon(date: str) -> datetime:
    try:
        return datetime.strptime(date, "%Y%m%d").replace(hour=12, tzinfo=UTC)
    except ValueError as error:
        raise BadLineError(f"{date} is not a date (YYYYMMDD)") from error

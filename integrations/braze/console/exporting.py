"""Captured changes as CSV, row by row, for a spreadsheet that must not run anything in it."""

import csv
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from integrations.outbox.models import OutboxEntry

COLUMNS = ("change", "account", "kind", "customer", "order", "status", "reason", "captured", "settled", "request")
#: Rows read at once.
CHUNK = 2_000
#: Without it, Excel does not read the file as UTF-8.
BYTE_ORDER_MARK = "\ufeff"
#: What a spreadsheet takes for the beginning of a formula [OWASP: CSV injection].
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Echo:
    def write(self, row: str) -> str:
        return row


def rows(entries: "QuerySet[OutboxEntry]") -> Iterator[str]:
    """Lines of CSV, headings first, after a byte order mark."""
    writer = csv.writer(_Echo())
    yield BYTE_ORDER_MARK + writer.writerow(COLUMNS)
    for entry in entries.select_related("account").iterator(CHUNK):
        yield writer.writerow([harmless(value) for value in _values(entry)])


def harmless(value: Any) -> str:
    """The value as text; what could be a formula gets an apostrophe, so that a spreadsheet shows it as text."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _values(entry: OutboxEntry) -> tuple[Any, ...]:
    settled = entry.settled_at.isoformat(timespec="seconds") if entry.settled_at else ""
    return (
        entry.pk, entry.account.slug, entry.kind, entry.customer_external_id, entry.data.get("order_id", ""),
        entry.status, entry.error, entry.created_at.isoformat(timespec="seconds"), settled, entry.batch or "",
    )  # fmt: skip

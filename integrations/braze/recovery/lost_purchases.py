"""Purchases that a restored database has lost: made, and perhaps sent, after the backup.

Without their rows, nothing would keep a later change of their orders from sending them once more, and nothing would
tell a reversal what there is to negate.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from django.db.models import QuerySet

from integrations.braze.composing import records
from integrations.braze.composing.compose import never_left
from integrations.braze.integration import pending_of
from integrations.braze.mapping import purchases as mapped
from integrations.braze.mapping.objects import Entry
from integrations.braze.mapping.rows import AnyOrder, AnyPurchase, PurchaseRow
from integrations.braze.models import BrazePurchase, Fate
from integrations.outbox import bulk
from integrations.outbox.changes import REVERSED_STATUSES
from integrations.outbox.models import Kind, OutboxEntry

logger = logging.getLogger(__name__)

#: Entries of orders looked at together.
CHUNK = 2_000


def add(account_id: int, entries: "QuerySet[OutboxEntry]", now: datetime) -> None:
    """Insert the rows that these changes of orders may have led to, where they are not there: pending."""
    each = entries.order_by("pk").iterator(CHUNK)
    while some := list(islice(each, CHUNK)):
        bulk.insert(BrazePurchase, list(_missing(account_id, some, now)))


def _missing(account_id: int, entries: Sequence[OutboxEntry], now: datetime) -> Iterator[PurchaseRow]:
    loaded = records.load(account_id, [Entry.of(entry) for entry in entries])
    sold = {entry.subject for entry in entries if Entry.of(entry).is_of_sale}
    closed = {entry.subject for entry in entries if not Entry.of(entry).is_of_sale}
    # A sale reverses itself where its order is closed by then, and no change of its own says so; the order may be open
    # again since. (Where a change captured since says it, whoever decides knows that no reversal has arrived.)
    closed |= {subject for subject in sold & loaded.orders.keys() if loaded.orders[subject].status in REVERSED_STATUSES}
    closed |= _opened_again(account_id, {entry.customer_external_id for entry in entries}) & sold
    sold &= loaded.orders.keys()
    for subject, order in {**loaded.orders, **loaded.gone}.items():
        known: list[AnyPurchase] = list(loaded.purchases.get(order.order_id, []))
        if subject in sold and known and all(never_left(row) for row in known):
            # What was sent since, if anything, was made anew of the order.
            BrazePurchase.objects.filter(pk__in=[row.pk for row in known]).delete()
            known = []
        try:
            sales = _sales(order, known, now) if subject in sold else []
            reversals = _reversals(order, [*known, *sales], now) if subject in closed else []
        except Exception:  # as where it is composed: what is wrong with one order must not hold up the account
            logger.exception("order %s of account %s cannot be mapped", order.order_id, account_id)
            continue
        yield from (*sales, *reversals)


def _opened_again(account_id: int, customers: set[str]) -> set[str]:
    """The subjects of these customers' orders that were closed and opened again, with that change still pending."""
    changes = pending_of(account_id)
    changes = changes.filter(kind=Kind.ORDER, customer_external_id__among=customers)
    return {subject for subject, data in changes.values_list("subject", "data") if data.get("reopened")}


def _sales(order: AnyOrder, known: Sequence[AnyPurchase], now: datetime) -> list[PurchaseRow]:
    if order.fulfilled_at is None:
        return []
    rows, _ = mapped.sales(order, mapped.sent_of(known), now)
    return rows


def _reversals(order: AnyOrder, known: Sequence[AnyPurchase], now: datetime) -> list[PurchaseRow]:
    """Also of an order that has been opened again since it was closed, or is gone."""
    mine = [row for row in known if row.customer_external_id == order.customer.external_id]
    negated = {row.purchase_id for row in mine if row.is_reversal}
    sales = [row for row in mine if not row.is_reversal and row.fate not in (Fate.REJECTED, Fate.DISCARDED)]
    due = [mapped.reversal(sale, order.closed_at or now) for sale in sales]
    return [row for row in due if row.purchase_id not in negated]

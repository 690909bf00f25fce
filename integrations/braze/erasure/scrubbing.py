"""Removes deleted customers' personal data from the outbox, the ledger and the mirror; ids, times and counts stay.

Every deletion leaves a row, written in its own transaction whatever is switched on, and a periodic task works these
rows off: no message has to arrive. What is still on its way is left as it is, and scrubbed once it has ended. What
somebody has locked is not waited for, and scrubbed by a later tick.
"""

import logging
from collections.abc import Collection
from time import monotonic
from typing import Any

from django.db.models import BooleanField, Exists, ExpressionWrapper, Max, OuterRef, Q, QuerySet
from django.db.models.signals import post_delete

from integrations.braze.erasure import erasing
from integrations.braze.integration import entries_of
from integrations.braze.models import BrazeState, DeletedCustomer
from integrations.outbox.clock import database_now
from integrations.outbox.models import IN_ANY_STATE, IS_ON_THE_WAY, OutboxEntry
from masivo_braze.loyalty.models import Customer
from masivo_braze.loyalty.signals import connect_rows

logger = logging.getLogger(__name__)

#: Customers scrubbed together.
TOGETHER = 500
#: One tick does one bounded slice.
SLICE_SECONDS = 10.0

#: The account that had its turn last in this process: the next turn, also of the next tick, is another's.
_last = 0


def connect() -> None:
    connect_rows(post_delete, note_deletion, Customer, "braze.note_deletion")


def note_deletion(instance: Customer, **_: Any) -> None:
    """Leave the row if the account ever had settings.

    (When an account is deleted, its state goes before its customers.)
    """
    if not BrazeState.objects.filter(account_id=instance.account_id).exists():
        return
    mine = entries_of(instance.account_id)
    theirs = mine.filter(IN_ANY_STATE, customer_external_id=instance.external_id)
    last = theirs.aggregate(last=Max("pk"))["last"] or 0
    DeletedCustomer.objects.create(account_id=instance.account_id, external_id=instance.external_id, last_entry=last)


def work_off() -> int:
    """Scrub deleted customers, for a bounded time; returns how many rows were looked at, each once.

    The accounts take turns: one may have deleted a hundred thousand customers, which takes hours.
    """
    global _last
    seen: set[int] = set()
    failed: set[int] = set()
    end = monotonic() + SLICE_SECONDS
    while monotonic() < end and (rows := _next(seen, failed)):
        seen.update(row.pk for row in rows)
        _last = rows[0].account_id
        try:
            _scrub(rows)
        except Exception:  # whatever is wrong with one account's records must not hold up the others
            failed.add(rows[0].account_id)
            logger.exception("deleted customers of account %s cannot be scrubbed", rows[0].account_id)
    return len(seen)


def _next(seen: Collection[int] = (), failed: Collection[int] = ()) -> list[DeletedCustomer]:
    """Some rows of one account: not scrubbed yet, or scrubbed while something was on its way that has ended since.

    Rows that were `seen` and accounts that `failed` are left to the next tick.
    """
    had_its_turn = ExpressionWrapper(Q(account_id__lte=_last), BooleanField())
    due = DeletedCustomer.objects.alias(is_waiting=Exists(_on_the_way()), had_its_turn=had_its_turn)
    due = due.order_by("had_its_turn", "account_id", "pk")
    due = due.filter(Q(scrubbed_at=None) | Q(is_waiting=False)).exclude(account_id__in=failed)
    rows = list(due.exclude(pk__among=seen)[:TOGETHER])
    return [row for row in rows if row.account_id == rows[0].account_id]


def _on_the_way() -> "QuerySet[OutboxEntry]":
    return entries_of(OuterRef("account_id")).filter(
        IS_ON_THE_WAY, customer_external_id=OuterRef("external_id"), pk__lte=OuterRef("last_entry")
    )


def _scrub(rows: Collection[DeletedCustomer]) -> None:
    """Scrub customers of one account.

    Rows of those who have something on its way now, or of whom something was locked, are kept for another time.
    """
    account_id = next(iter(rows)).account_id
    mine = DeletedCustomer.objects.filter(pk__in=[row.pk for row in rows])
    waiting = set(mine.filter(Exists(_on_the_way())).values_list("pk", flat=True))
    customers: dict[str, int] = {}
    for row in rows:
        customers[row.external_id] = max(row.last_entry, customers.get(row.external_id, 0))
    cleared = mine.exclude(external_id__in=erasing.erase(account_id, customers))
    cleared.filter(pk__in=waiting).update(scrubbed_at=database_now())
    cleared.exclude(pk__in=waiting).delete()

"""Writes outbox entries in the transaction of the change they record.

No code of an integration runs here: what is wanted is read from the subscriptions table, so a save can
neither fail nor wait because of an integration, and a toggle counts from the moment it is committed.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from integrations.outbox import bulk, nudge
from integrations.outbox.clock import NOW, database_now
from integrations.outbox.models import OPEN, Kind, OutboxEntry, Status, Subscription, Topic
from integrations.outbox.registry import integrations
from masivo_braze.loyalty.models import Customer

DELETED_REASON = "customer deleted"
#: True of entries of which nothing is on its way: pending ones, and those that wait for a decision.
IS_UNSTARTED = Q(status=Status.PENDING) | Q(status__in=OPEN)


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of one customer, before it is known who wants it."""

    account_id: int
    kind: Kind
    customer_external_id: str
    topics: tuple[Topic, ...]
    subject: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class _Row:
    """A change as a row for `bulk.insert`; columns that are the same for every new entry are class attributes."""

    __slots__ = ("account_id", "created_at", "customer_external_id", "data", "integration", "kind", "subject")
    status, error, worst, adjustments = Status.PENDING.value, "", "", ()
    batch = due_at = settled_at = None
    parked = False

    def __init__(self, change: Change, integration: str, created_at: datetime) -> None:
        self.account_id, self.integration, self.kind = change.account_id, integration, change.kind.value
        self.customer_external_id, self.subject, self.data = change.customer_external_id, change.subject, change.data
        self.created_at = created_at


def record(changes: Sequence[Change]) -> None:
    """Write an entry for each change and each integration that wants one of its topics."""
    if not changes or not integrations():
        return
    with transaction.atomic(savepoint=False):
        written = _record_one(changes[0]) if len(changes) == 1 else _record_many(changes)
    if written:
        nudge.after_commit({change.account_id for change in changes})


def record_for(customers: "QuerySet[Customer]", change: Change) -> None:
    """Write this entry for each of the customers, in one statement: there may be a million, and none is loaded.

    The change must have exactly one topic.
    """
    if not integrations():
        return
    query, parameters = customers.order_by().values("external_id").query.sql_with_params()
    with transaction.atomic(savepoint=False):
        written = _insert(change, "customer.external_id", parameters, f" CROSS JOIN ({query}) AS customer")
    if written:
        nudge.after_commit({change.account_id})


def _record_one(change: Change) -> int:
    """The hot path: one statement that inserts only where somebody wants the change."""
    if change.kind == Kind.CUSTOMER_DELETED:
        _skip_unstarted([change])
    return _insert(change, "%s", [change.customer_external_id])


def _insert(change: Change, customer: str, parameters: Sequence[Any], joined: str = "") -> int:
    """How many entries were written. `parameters` are those of the SQL in `customer` and in `joined`."""
    topics = [topic.value for topic in change.topics]
    once = " GROUP BY s.account_id, s.integration" if len(topics) > 1 else ""  # one entry, however many topics match
    json_cast = "::jsonb" if connection.vendor == "postgresql" else ""
    statement = (  # the names are our own tables', the values are parameters
        f'INSERT INTO "{OutboxEntry._meta.db_table}" (account_id, integration, kind, subject, data, adjustments,'
        " status, error, worst, parked, created_at, customer_external_id)"
        f" SELECT s.account_id, s.integration, %s, %s, %s{json_cast}, '[]'{json_cast}, %s, '', '', %s,"
        f" {NOW[connection.vendor]}, {customer}"
        f' FROM "{Subscription._meta.db_table}" s{joined} WHERE s.account_id = %s'
        f" AND s.topic IN ({', '.join(['%s'] * len(topics))}){once}"
    )  # fmt: skip
    values = [
        change.kind.value,
        change.subject,
        json.dumps(change.data),
        Status.PENDING.value,
        False,
        *parameters,
        change.account_id,
        *topics,
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _record_many(changes: Sequence[Change]) -> int:
    wanted, now = _wanted({change.account_id for change in changes}), database_now()
    deletions = [change for change in changes if change.kind == Kind.CUSTOMER_DELETED]
    if deletions:
        _skip_unstarted(deletions)
    entries = [
        _Row(change, integration, now)
        for change in changes
        for integration in sorted(set().union(*(wanted[change.account_id, topic] for topic in change.topics)))
    ]
    bulk.insert(OutboxEntry, entries)
    return len(entries)


def _wanted(account_ids: set[int]) -> dict[tuple[int, str], set[str]]:
    wanted: dict[tuple[int, str], set[str]] = defaultdict(set)
    rows = Subscription.objects.filter(account_id__in=account_ids).values_list("account_id", "topic", "integration")
    for account_id, topic, integration in rows:
        wanted[account_id, topic].add(integration)
    return wanted


def _skip_unstarted(deletions: Sequence[Change]) -> None:
    """Skip the customers' unstarted work, so that it cannot re-create them; only for integrations that want deletions.

    That includes entries held as unknown, and dead letters that somebody might retry.
    """
    by_account: dict[int, list[str]] = defaultdict(list)
    for change in deletions:
        by_account[change.account_id].append(change.customer_external_id)
    for account_id, customers in by_account.items():
        wanting = Subscription.objects.filter(account_id=account_id, topic=Topic.CUSTOMER_DELETED)
        unstarted = OutboxEntry.objects.filter(
            IS_UNSTARTED,
            account_id=account_id,
            integration__in=list(wanting.values_list("integration", flat=True)),
            customer_external_id__in=customers,
        )
        # The update alone would lock them in the order of its plan, and deadlock with those who lock them by id.
        ids = list(unstarted.order_by("pk").select_for_update().values_list("pk", flat=True))
        if ids:
            skipped = OutboxEntry.objects.filter(pk__among=ids)
            skipped.update(status=Status.SKIPPED, error=DELETED_REASON, settled_at=database_now())

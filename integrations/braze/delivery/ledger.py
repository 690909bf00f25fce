"""The ledger's transitions: a request is composed, started by one sender, finished or taken back."""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from integrations.braze.delivery import client, transport
from integrations.braze.integration import NAME, entries_of
from integrations.braze.models import BrazePurchase, Delivery, Fate, Outcome
from integrations.braze.models.ledger import ARRAYS
from integrations.outbox.clock import NOW, database_now, latest, moment_of
from integrations.outbox.models import Kind, OutboxEntry, Status
from integrations.outbox.prepared import Prepared
from integrations.outbox.sql import Columns, moment, table_of

_TABLE, _ENTRIES = Delivery._meta.db_table, OutboxEntry._meta.db_table

#: A sender that has not begun to send this long after the start gives the request back.
SEND_WITHIN = timedelta(seconds=2)
#: Nor does it leave later than this, however long the name look-up takes, which has no time-out: its answer could come
#: when it counts as silent already. The client's total time begins before that, and includes it.
LEAVE_WITHIN = SEND_WITHIN + timedelta(seconds=transport.SEND_SECONDS)
#: Longer than any request can take from start to settlement: after it, an unsettled request's outcome is unknown.
SILENT_AFTER = LEAVE_WITHIN + timedelta(seconds=client.TOTAL_SECONDS + 3)
MOST_MARK = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended; `words` are Braze's."""

    outcome: str
    status_code: int | None
    words: str


def unstarted(account_id: Any) -> "QuerySet[Delivery]":
    return Delivery.objects.filter(account_id=account_id, started_at=None, finished_at=None).order_by(
        "created_at", "pk"
    )


_UNSTARTED = Prepared(lambda account_id: unstarted(account_id).values_list("pk", "bytes"))


@dataclass(frozen=True, slots=True)
class Look:
    """How an account stands at `now`, a moment of the database's clock.

    `fullness` is how much of the room for ready requests is used; from 1 on, a backlog had better wait in the database,
    where it can be packed into full requests.
    """

    now: datetime
    fullness: float
    has_deletions: bool  #: pending ones


def look(account_id: int) -> Look:
    """One statement of plain SQL: each round of a relay begins with it."""
    deletions = (
        f'SELECT 1 FROM "{_ENTRIES}" WHERE account_id = %s AND integration = %s'
        f" AND status = '{Status.PENDING.value}' AND kind = '{Kind.CUSTOMER_DELETED.value}'"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT count(*), sum(bytes), {NOW[connection.vendor]}, EXISTS ({deletions}) FROM "{_TABLE}"'
            " WHERE account_id = %s AND started_at IS NULL AND finished_at IS NULL",
            [account_id, NAME, account_id],
        )
        requests, size, now, has_deletions = cursor.fetchone()
    fullness = max(int(requests) / settings.BRAZE_READY_REQUESTS, int(size or 0) / settings.BRAZE_READY_BYTES)
    return Look(moment_of(now), fullness, bool(has_deletions))


def next_to_send(account_id: int) -> list[UUID]:
    """The oldest unstarted requests, as many as the buffer may hold of an account, but at least one."""
    found: list[UUID] = []
    size = 0
    for delivery_id, weight in _UNSTARTED.rows(settings.BRAZE_READY_REQUESTS, account_id=account_id):
        size += weight
        if found and size > settings.BRAZE_READY_BYTES:
            break
        found.append(delivery_id)
    return found


def start(delivery_id: UUID) -> bool:
    """Start a request: whether the caller, and nobody else, may send it now."""
    return bool(start_all([delivery_id]))


def start_all(delivery_ids: Collection[UUID], mark: timedelta = timedelta(0)) -> set[UUID]:
    """Start requests: which of them the caller, and nobody else, may send now.

    The deadline is later by `mark`, and tells by that whose start it was, if it is not known whether it was committed.
    """
    now = database_now()
    free, parameters = table_of({"id": ("uuid", list(delivery_ids))}, "chosen")
    statement = (
        f'UPDATE "{_TABLE}" SET started_at = %s, deadline = %s FROM {free}'
        f' WHERE "{_TABLE}".id = chosen.id AND started_at IS NULL AND finished_at IS NULL RETURNING "{_TABLE}".id'
    )
    return _ids(statement, [moment(now), moment(now + SILENT_AFTER + mark), *parameters])


def new_mark() -> timedelta:
    """By chance, below `MOST_MARK`. Two starts of one request are rare by themselves: Redis claims it for one."""
    return timedelta(microseconds=random.randrange(1_000_000))  # noqa: S311


def finish_all(ends: Mapping[UUID, End], now: datetime) -> set[UUID]:
    """Record how started requests ended; returns those that had not ended before."""
    columns: Columns = {
        "id": ("uuid", list(ends)),
        "outcome": ("text", [end.outcome for end in ends.values()]),
        "status_code": ("smallint", [end.status_code for end in ends.values()]),
        "answer": ("text", [end.words for end in ends.values()]),
    }
    ended, parameters = table_of(columns, "ended")
    statement = (
        f'UPDATE "{_TABLE}" SET finished_at = %s, outcome = ended.outcome, status_code = ended.status_code,'
        f" answer = ended.answer FROM {ended}"
        f' WHERE "{_TABLE}".id = ended.id AND started_at IS NOT NULL AND finished_at IS NULL RETURNING "{_TABLE}".id'
    )
    return _ids(statement, [moment(now), *parameters])


def _ids(statement: str, parameters: list[Any]) -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return {pk if isinstance(pk, UUID) else UUID(pk) for (pk,) in cursor.fetchall()}


@transaction.atomic
def give_back(delivery_ids: Collection[UUID], mark: timedelta = timedelta(0)) -> None:
    """Undo starts with this mark, of requests that have not left: settings may have changed, so they are composed anew.

    All are locked, whoever started them: a commit of such a start that the server has yet to carry out is waited for.
    """
    rows = Delivery.objects.filter(pk__among=delivery_ids, finished_at=None).order_by("pk").select_for_update()
    starts = rows.values_list("pk", "started_at", "deadline")
    ours = [pk for pk, since, until in starts if since and until and until - since == SILENT_AFTER + mark]
    _dissolve(Delivery.objects.filter(pk__among=ours))


def silent() -> list[tuple[int, UUID]]:
    """Account and id of requests that were started but not settled by their deadline: their sender is dead or cut off.

    The oldest first.
    """
    return _in_flight(deadline__lt=database_now())


def dated_ahead() -> list[tuple[int, UUID]]:
    """Those that were started later than now, as the clock was set back since: their deadlines tell nothing."""
    return _in_flight(deadline__gt=latest(database_now(), SILENT_AFTER + MOST_MARK))


def _in_flight(**deadline: datetime) -> list[tuple[int, UUID]]:
    started = Delivery.objects.filter(started_at__isnull=False, finished_at=None)
    return list(started.filter(**deadline).order_by("deadline").values_list("account_id", "pk"))


def dissolve_unstarted(account_id: int) -> None:
    """Turn requests that nobody has started back into pending entries, to be composed anew."""
    _dissolve(unstarted(account_id))


def make_way_for_deletions(account_id: int) -> None:
    """Take back unstarted requests that carry customers whose deletion is pending.

    Goes through everything on its way, so call it only if a deletion is pending.
    """
    mine = entries_of(account_id)
    deleted = mine.filter(status=Status.PENDING, kind=Kind.CUSTOMER_DELETED).values("customer_external_id")
    busy = mine.filter(status=Status.BUFFERED, customer_external_id__in=deleted)
    if batches := [batch for batch in busy.values_list("batch", flat=True).distinct() if batch]:
        _dissolve(unstarted(account_id).filter(pk__among=batches))


def named(manifests: Iterable[dict[str, Any]]) -> set[int]:
    """The ids of the entries that these manifests name."""
    lines = (line for manifest in manifests for array in ARRAYS for line in manifest.get(array, ()))
    return {pk for line in lines for pk in line["entries"]}


def purchases_of(manifests: Iterable[dict[str, Any]]) -> "QuerySet[BrazePurchase]":
    """The purchases on their way that these manifests name: by primary key, as purchases are kept for ever."""
    lines = (line for manifest in manifests for line in manifest.get("purchases", ()))
    return BrazePurchase.objects.filter(pk__among=[line["purchase"] for line in lines], fate=Fate.BUFFERED)


def carried(manifests: Iterable[dict[str, Any]]) -> "QuerySet[OutboxEntry]":
    """The buffered entries that these manifests name: by primary key, so that no index on the request is needed."""
    return OutboxEntry.objects.filter(pk__among=named(manifests), status__unindexed=Status.BUFFERED)


@transaction.atomic
def _dissolve(deliveries: "QuerySet[Delivery]") -> None:
    manifests = dict(deliveries.select_for_update().values_list("pk", "manifest"))
    ids = list(manifests)
    Delivery.objects.filter(pk__among=ids).update(outcome=Outcome.DISSOLVED, finished_at=database_now(), body=b"")
    carried(manifests.values()).filter(batch__among=ids).update(status=Status.PENDING, batch=None)
    purchases = purchases_of(manifests.values()).filter(delivery_id__among=ids)
    purchases.update(fate=Fate.PENDING, delivery_id=None)

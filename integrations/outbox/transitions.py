"""Moves many entries in one statement: into their requests, or to their final status."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from django.db import connection

from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.sql import Columns, among, moment, table_of, unindexed

_TABLE = OutboxEntry._meta.db_table


def buffer(requests: Mapping[int, UUID]) -> int:
    """Assign pending entries, by id, to the requests that carry them; returns how many were still pending."""
    if not requests:
        return 0
    columns: Columns = {"entry_id": ("bigint", list(requests)), "id": ("uuid", list(requests.values()))}
    carried_by, parameters = table_of(columns, "request")
    still_pending = unindexed(f'"{_TABLE}".status')
    statement = (  # our own tables' names; the values are parameters
        f'UPDATE "{_TABLE}" SET status = %s, batch = request.id, due_at = NULL, parked = %s,'
        f' error = CASE WHEN "{_TABLE}".parked THEN %s ELSE "{_TABLE}".error END'
        f' FROM {carried_by} WHERE "{_TABLE}".id = request.entry_id AND {still_pending}'
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [Status.BUFFERED.value, False, "", *parameters, Status.PENDING.value])
        return int(cursor.rowcount)


def settle(ids: Collection[int], requests: Collection[UUID], now: datetime) -> int:
    """Settle those of the entries that these requests still carry: each gets its worst fate, or is delivered.

    Returns how many were settled. If nothing went wrong with an entry, an earlier doubt's reason is removed.
    """
    (named, written), (carried, written_too) = among("id", "bigint"), among("batch", "uuid")
    still_carried = unindexed("status")
    statement = (
        f'UPDATE "{_TABLE}" SET status = CASE WHEN worst = %s THEN %s ELSE worst END,'
        f" error = CASE WHEN worst = %s THEN %s ELSE error END, settled_at = %s"
        f" WHERE {named} AND {still_carried} AND {carried}"
    )
    to = ["", Status.DELIVERED.value, "", "", moment(now)]
    values = [*to, written(ids), Status.BUFFERED.value, written_too(requests)]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)

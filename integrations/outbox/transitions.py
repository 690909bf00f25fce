"""Moves many entries at once, each to a state of its own, in one statement."""

from collections.abc import Mapping
from uuid import UUID

from django.db import connection

from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.sql import Columns, table_of, unindexed

_TABLE = OutboxEntry._meta.db_table


def buffer(requests: Mapping[int, UUID]) -> int:
    """Pending entries, by id, are carried by these requests from now on; returns how many were still pending."""
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

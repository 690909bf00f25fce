"""The oldest pending entries: of an account, and of each of many customers.

The queries are written so that only one index fits. PostgreSQL's planner goes by how frequent a state was when
statistics were last collected: it may believe that hardly anything is pending while millions are, or the reverse, and
would then scan everything pending, or the whole table, each time that some entries are taken.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import JSONField

from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.sql import array, json_of, moment

_TABLE = OutboxEntry._meta.db_table
#: Matches the index `outbox_pending_of_customer`.
_PENDING = (
    "account_id = %s AND integration = %s AND status = %s AND customer_external_id = chosen.name"
    " AND (NOT parked OR due_at <= %s)"
)

#: Matches the index `outbox_pending`.
_FIRST = (
    f"SELECT id FROM {_TABLE} WHERE account_id = %s AND integration BETWEEN %s AND %s"
    f" AND status = '{Status.PENDING.value}' AND id >= 0"
)


class Limits(NamedTuple):
    of_each: int  #: most entries of one customer
    of_all: int  #: most entries together


def first_pending(account_id: int, integration: str, parked: bool = True) -> int | None:
    """The lowest id of a pending entry, or None; without `parked`, of one that is not parked.

    The range on `integration` and the order by it steer the planner to the index: by the primary key it would first go
    through everything that is settled.
    """
    statement = _FIRST if parked else f"{_FIRST} AND NOT parked"
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} ORDER BY integration, id LIMIT 1", [account_id, integration, integration])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def pending_of(
    account_id: int, integration: str, customers: Iterable[str], columns: Sequence[str], now: datetime, limits: Limits
) -> list[tuple[Any, ...]]:
    """`columns` of the pending entries of these customers, in the customers' order, each customer's oldest first.

    Parked entries are left out until their time has come. JSON comes as text. `limits.of_all` may have cut the last
    customer's entries short.
    """
    selected = ", ".join(map(_selected, columns))
    if connection.vendor == "postgresql":
        names = "SELECT * FROM unnest(%s::text[]) WITH ORDINALITY AS listed(name, place) ORDER BY place"
        each = f"SELECT {selected} FROM {_TABLE} WHERE {_PENDING} ORDER BY id LIMIT %s"
        source = f"FROM ({names}) AS chosen CROSS JOIN LATERAL ({each}) AS found ORDER BY chosen.place"
        statement = f"SELECT found.* {source} LIMIT %s"
        listed = array(customers)
    else:
        number = "row_number() OVER (PARTITION BY chosen.key ORDER BY id) AS number, chosen.key AS place"
        names = "SELECT key, value AS name FROM json_each(%s)"
        each = f"SELECT {selected}, {number} FROM ({names}) AS chosen CROSS JOIN {_TABLE} WHERE {_PENDING}"
        source = f"FROM ({each}) WHERE number <= %s ORDER BY place, number"
        statement = f"SELECT {', '.join(map(_quoted, columns))} {source} LIMIT %s"
        listed = json_of(customers)
    of_account = (account_id, integration, Status.PENDING.value, moment(now))
    with connection.cursor() as cursor:
        cursor.execute(statement, [listed, *of_account, limits.of_each, limits.of_all])
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _selected(column: str) -> str:
    quoted = _quoted(column)
    is_json = isinstance(OutboxEntry._meta.get_field(column), JSONField)
    return f"CAST({quoted} AS text) AS {quoted}" if is_json else quoted


def _quoted(column: str) -> str:
    return connection.ops.quote_name(column)

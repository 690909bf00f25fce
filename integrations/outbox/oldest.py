"""The oldest pending entries: of an account, and of each of many customers.

Asked for in words that leave the database one index to find them by. It knows how frequent a state was when it counted
last: it believes that hardly anything is pending while millions are, or that nearly all is when hardly anything is, and
would look through all that is pending, or through all there is, each time that some are taken.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import JSONField

from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.sql import array, json_of, moment

_TABLE = OutboxEntry._meta.db_table
#: In the words of `outbox_pending_of_customer`.
_PENDING = (
    "account_id = %s AND integration = %s AND status = %s AND customer_external_id = chosen.name"
    " AND (NOT parked OR due_at <= %s)"
)

#: In those of `outbox_pending`.
_FIRST = (
    f"SELECT id FROM {_TABLE} WHERE account_id = %s AND integration BETWEEN %s AND %s"
    f" AND status = '{Status.PENDING.value}' AND id >= 0"
)


class Limits(NamedTuple):
    of_each: int  #: entries of one customer
    of_all: int


def first_pending(account_id: int, integration: str, parked: bool = True) -> int | None:
    """The lowest id of what is pending, if anything is; of what is not parked, if so asked.

    A range, and an order by what it is about: by the primary key, all that is settled would come before it.
    """
    statement = _FIRST if parked else f"{_FIRST} AND NOT parked"
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} ORDER BY integration, id LIMIT 1", [account_id, integration, integration])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def pending_of(
    account_id: int, integration: str, customers: Iterable[str], columns: Sequence[str], now: datetime, limits: Limits
) -> list[tuple[Any, ...]]:
    """Of the first of these customers, entries that do not wait, in the order of customers; JSON comes as text.

    Of the last of them there may be more: `limits.of_all` may have cut them short.
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

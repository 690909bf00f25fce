"""Lists of values as a table in a statement, so that one statement can do to each row what is due to that row.

PostgreSQL takes an array per column, SQLite a JSON text.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

#: Column → (PostgreSQL's type, the values); all columns have equally many.
Columns = Mapping[str, tuple[str, Sequence[Any]]]


def table_of(columns: Columns, alias: str) -> tuple[str, list[Any]]:
    """A FROM item called `alias`, and its parameters. Column names and types are ours, never input."""
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{type_}[]" for type_, _ in columns.values())
        return f"unnest({arrays}) AS {alias}({', '.join(columns)})", [array(values) for _, values in columns.values()]
    picked = ", ".join(f"json_extract(value, '$[{number}]') AS {name}" for number, name in enumerate(columns))
    rows = zip(*(values for _, values in columns.values()), strict=True)
    return f"(SELECT {picked} FROM json_each(%s)) AS {alias}", [json_of(map(list, rows))]


def unindexed(column: str) -> str:
    """The condition that a column equals a parameter, for which no index is chosen: other conditions find the row.

    Of many rows in few states the database believes that few are in the state that is asked for, and would look
    through all of them, as often as it is asked, for those that are named by their primary keys.
    """
    return f"{column} IS NOT DISTINCT FROM %s" if connection.vendor == "postgresql" else f"+{column} = %s"


def among(column: str, type_: str) -> tuple[str, Callable[[Iterable[Any]], str]]:
    """The condition that a column is one of the values of one parameter, and how that is written."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::{type_}[])", array
    return f"{column} IN (SELECT value FROM json_each(%s))", json_of


def array(values: Iterable[Any]) -> str:
    """PostgreSQL's notation of an array: made here, because the driver takes longer for it than the query does."""
    return f"{{{','.join(map(literal, values))}}}"


def literal(value: Any) -> str:
    """An element of PostgreSQL's notation of an array."""
    kind = value.__class__
    if kind is int:
        return str(value)
    if value is None:
        return "NULL"
    if kind is dict or kind is list or kind is tuple:
        text = _json(value)
    elif kind is bytes or kind is memoryview:
        return f'"\\\\x{value.hex()}"'
    elif kind is datetime:
        text = value.isoformat()
    else:  # texts, UUIDs, decimals, truth values, dates
        text = str(value)
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    return f'"{text}"'


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a number of more than 64 bits
        return json.dumps(value)


def json_of(values: Iterable[Any]) -> str:
    """For SQLite's json_each; a UUID is its 32 digits, as Django keeps it."""
    return json.dumps(list(values), default=lambda value: value.hex)


def moment(at: datetime) -> Any:
    """A time as the database's own columns have it."""
    return connection.ops.adapt_datetimefield_value(at)

"""Passes lists of values to a statement as a table, so that one statement can update many rows differently.

PostgreSQL gets one array per column, SQLite one JSON text.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

#: Column → (PostgreSQL's type, its values). All columns have the same number of values.
Columns = Mapping[str, tuple[str, Sequence[Any]]]


def table_of(columns: Columns, alias: str) -> tuple[str, list[Any]]:
    """SQL for a FROM item called `alias`, and its parameters. Column names and types must not come from input."""
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{type_}[]" for type_, _ in columns.values())
        return f"unnest({arrays}) AS {alias}({', '.join(columns)})", [array(values) for _, values in columns.values()]
    picked = ", ".join(f"json_extract(value, '$[{number}]') AS {name}" for number, name in enumerate(columns))
    rows = zip(*(values for _, values in columns.values()), strict=True)
    return f"(SELECT {picked} FROM json_each(%s)) AS {alias}", [json_of(map(list, rows))]


def unindexed(column: str) -> str:
    """SQL for "column equals parameter", in a form that no index serves: the other conditions must find the row.

    The planner may believe that few rows are in a state, and then scan all rows in that state for the few that the
    statement names by their primary keys.
    """
    return f"{column} IS NOT DISTINCT FROM %s" if connection.vendor == "postgresql" else f"+{column} = %s"


def among(column: str, type_: str) -> tuple[str, Callable[[Iterable[Any]], str]]:
    """SQL for "column is among the values of one parameter", and the function that writes that parameter."""
    if connection.vendor == "postgresql":
        return f"{column} = ANY(%s::{type_}[])", array
    return f"{column} IN (SELECT value FROM json_each(%s))", json_of


def array(values: Iterable[Any]) -> str:
    """An array as PostgreSQL's literal: made here, because the driver takes longer to make it than the query runs."""
    return f"{{{','.join(map(literal, values))}}}"


def literal(value: Any) -> str:
    """A value as an element of PostgreSQL's array literal."""
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
    else:  # text, UUIDs, decimals, booleans, dates
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
    """A JSON array for SQLite's `json_each`; a UUID becomes its 32 digits, as Django stores it."""
    return json.dumps(list(values), default=lambda value: value.hex)


def moment(at: datetime) -> Any:
    """A time in the form in which the database's columns hold it."""
    return connection.ops.adapt_datetimefield_value(at)

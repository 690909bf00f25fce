"""Lists of values as a table in a statement, so that one statement can do to each row what is due to that row.

PostgreSQL takes an array per column, SQLite a JSON text.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

#: Column → (PostgreSQL's type, the values); all columns have equally many.
Columns = Mapping[str, tuple[str, Sequence[Any]]]


def table_of(columns: Columns, alias: str) -> tuple[str, list[Any]]:
    """A FROM item called `alias`, and its parameters. Column names and types are ours, never input."""
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{type_}[]" for type_, _ in columns.values())
        return f"unnest({arrays}) AS {alias}({', '.join(columns)})", [list(values) for _, values in columns.values()]
    picked = ", ".join(f"json_extract(value, '$[{number}]') AS {name}" for number, name in enumerate(columns))
    rows = [[_plain(value) for value in row] for row in zip(*(values for _, values in columns.values()), strict=True)]
    return f"(SELECT {picked} FROM json_each(%s)) AS {alias}", [json.dumps(rows)]


def moment(at: datetime) -> Any:
    """A time as the database's own columns have it."""
    return connection.ops.adapt_datetimefield_value(at)


def _plain(value: Any) -> Any:
    """As the column has it: Django keeps a UUID in SQLite as its 32 digits."""
    return value.hex if isinstance(value, UUID) else value

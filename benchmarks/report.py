"""One table for people, one JSON line for machines."""

import json
from collections.abc import Mapping, Sequence

from dev.demo.table import table


def show(name: str, rows: Sequence[Mapping[str, object]]) -> None:
    header = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n{name}\n")
    print(table(header, [[row.get(column, "") for column in header] for row in rows]))
    print(json.dumps({"benchmark": name, "rows": list(rows)}, default=str), flush=True)

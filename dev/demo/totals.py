"""The figures that are compared."""

from dataclasses import dataclass, fields
from decimal import Decimal

from dev.demo.table import table


@dataclass(frozen=True)
class Totals:
    """`discs` are the units bought in the order lines; `revenue` is in dollars."""

    profiles: int = 0
    order_lines: int = 0
    discs: int = 0
    revenue: Decimal = Decimal(0)
    events: int = 0
    tagged: int = 0
    big_spenders: int = 0
    new_in_march: int = 0


def compare(raw: Totals, lost: Totals, braze: Totals) -> tuple[str, bool]:
    """A table, and whether Braze holds exactly what is in the raw file, less what is known to be lost."""
    rows, equal = [], True
    for field in fields(Totals):
        source, missing, held = (getattr(side, field.name) for side in (raw, lost, braze))
        same = source - missing == held
        equal = equal and same
        rows.append([field.name.replace("_", " "), source, missing, held, "" if same else "DIFFERS"])
    return table(["", "raw file", "unknown", "Braze", ""], rows), equal

"""What Braze has to hold, counted from the raw file alone: nothing here knows how the product maps or sends."""

from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from dev.demo.totals import Totals
from dev.sample import BIG_SPENDER_DOLLARS, TAGGED_CUSTOMERS


def from_raw_file(path: Path) -> tuple[Totals, dict[str, Decimal]]:
    """The totals, and the dollars spent by each customer."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    spent: dict[str, Decimal] = defaultdict(Decimal)
    first: dict[str, str] = {}
    for customer, _, date, _, dollars in rows:
        spent[customer] += Decimal(dollars)
        first[customer] = min(date, first.get(customer, date))
    totals = Totals(
        profiles=len(spent),
        order_lines=len(rows),
        discs=sum(int(row[3]) for row in rows),
        revenue=sum(spent.values(), Decimal(0)),
        events=TAGGED_CUSTOMERS,
        tagged=TAGGED_CUSTOMERS,
        big_spenders=sum(total > BIG_SPENDER_DOLLARS for total in spent.values()),
        new_in_march=sum(date.startswith("199703") for date in first.values()),
    )
    return totals, dict(spent)

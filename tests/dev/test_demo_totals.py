"""The demo's own arithmetic: the raw file is counted right, and a difference does not pass."""

from dataclasses import replace
from decimal import Decimal

from dev.demo.expected import from_raw_file
from dev.demo.table import table
from dev.demo.totals import Totals, compare
from dev.sample import CDNOW_FILE

NOTHING = Totals()


def test_it_counts_the_raw_file_as_its_source_describes_it() -> None:
    totals, spent = from_raw_file(CDNOW_FILE)
    assert (totals.profiles, totals.order_lines, totals.discs) == (2357, 6919, 16479)
    assert totals.revenue == sum(spent.values()) == Decimal("244091.94")
    assert spent["00004"] == Decimal("29.33") + Decimal("29.73") + Decimal("14.96") + Decimal("26.48")


def test_its_tables_need_no_encoding() -> None:
    """With LC_ALL=C, the demo ended at the line below a table's header."""
    assert table(["kind", "number"], [["events", 1_234]]) == "kind    number\n------  ------\nevents   1,234"


def test_it_passes_what_is_equal() -> None:
    raw, _ = from_raw_file(CDNOW_FILE)
    text, equal = compare(raw, NOTHING, raw)
    assert equal
    assert "DIFFERS" not in text


def test_it_fails_on_a_cent_and_names_the_row() -> None:
    raw, _ = from_raw_file(CDNOW_FILE)
    text, equal = compare(raw, NOTHING, replace(raw, revenue=raw.revenue - Decimal("0.01")))
    assert not equal
    assert [line.split()[0] for line in text.splitlines() if "DIFFERS" in line] == ["revenue"]


def test_it_allows_exactly_what_the_ledger_lists_as_unknown() -> None:
    raw = Totals(order_lines=10, discs=20, revenue=Decimal(100))
    held = Totals(order_lines=9, discs=18, revenue=Decimal("88.50"))
    lost = Totals(order_lines=1, discs=2, revenue=Decimal("11.50"))
    assert compare(raw, lost, held)[1]
    assert not compare(raw, lost, raw)[1]
    assert not compare(raw, replace(lost, discs=1), held)[1]

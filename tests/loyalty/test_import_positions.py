"""Which line of an order a file means, where it says no positions, and lines come and go."""

from pathlib import Path
from typing import Any

import pytest

from masivo_braze.loyalty.models import Account, OrderLine
from tests.loyalty.recorder import Recorder
from tests.loyalty.test_import import CUSTOMER, ORDER, Import


@pytest.fixture
def run_import(account: Account, tmp_path: Path) -> Import:
    return Import(tmp_path)


def bring(run_import: Import, *skus: str, **more: Any) -> list[tuple[int, str]]:
    """Where the order's lines are after an import of these."""
    lines = [{"sku": sku, "value": 5, **more} for sku in skus]
    assert run_import(CUSTOMER, {**ORDER, "lines": lines})
    return list(OrderLine.objects.values_list("position", "sku"))


def test_a_new_line_does_not_get_the_position_of_one_that_was_removed(run_import: Import) -> None:
    bring(run_import, "A", "B")
    assert bring(run_import, "A") == [(1, "A")]
    assert bring(run_import, "A", "C") == [(1, "A"), (3, "C")]


def test_the_same_lines_brought_again_stay_where_they_are(run_import: Import, changes: Recorder) -> None:
    bring(run_import, "A", "B")
    bring(run_import, "A")
    bring(run_import, "A", "C")
    told = len(changes.all)
    assert bring(run_import, "A", "C") == [(1, "A"), (3, "C")]
    assert len(changes.all) == told
    assert bring(run_import, "A", "C", "D") == [(1, "A"), (3, "C"), (4, "D")]


def test_a_position_of_the_file_s_own_is_kept(run_import: Import) -> None:
    """It says that this is the line that was there before."""
    bring(run_import, "A", "B")
    bring(run_import, "A")
    assert bring(run_import, "C", position=2) == [(2, "C")]

"""An order whose lines are sent in instalments adds up to its total, to the smallest unit."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze.mapping import money, purchases
from tests.integrations.braze.mapping.test_purchases import revenue, sold


def of(*paid: str) -> list[dict[str, Decimal]]:
    return [{"value": Decimal(value)} for value in paid]


@pytest.mark.parametrize(("sent", "missing"), [("0.01", "0.00"), ("0.00", "0.01")])
def test_a_line_that_comes_later_gets_what_is_missing(sent: str, missing: str) -> None:
    later, _ = sold(*of("0.005", "0.005"), sent={2: Decimal(sent)})
    assert revenue(later) == Decimal(missing)


def test_a_line_that_was_edited_since_it_was_sent_counts_as_it_is_now() -> None:
    """What is sent of the others does not make up for an edit: that would be revenue of another product."""
    later, _ = sold(*of("99.005", "10.005"), sent={1: Decimal("5.00")})
    assert revenue(later) == Decimal("10.00")


@given(
    st.lists(st.decimals(-10, 10**6, places=3), min_size=1, max_size=8),
    st.sampled_from(["USD", "JPY", "KWD"]),
    st.data(),
)
def test_lines_that_are_refused_and_made_anew_in_any_order_add_up(
    paid: list[Decimal], currency: str, data: st.DataObject
) -> None:
    lines = [{"value": value, "quantity": 1} for value in paid]
    rows, _ = sold(*lines, currency=currency)
    refused = data.draw(st.permutations(range(1, len(paid) + 1)))[: data.draw(st.integers(0, len(paid)))]
    rows = [row for row in rows if row.line not in refused]
    for line in refused:  # one after the other
        anew, _ = sold(*lines, currency=currency, sent=purchases.sent_of(rows))
        rows += [row for row in anew if row.line == line]
    unit = money.smallest_unit(currency)
    assert revenue(rows) == (sum(paid) / unit).to_integral_value(ROUND_HALF_UP) * unit

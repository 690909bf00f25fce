"""Revenue is exact: a line's parts add up to its total, to the smallest unit of the currency."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.braze.mapping import money
from integrations.braze.mapping.money import Part
from integrations.braze.mapping.values import number

CDNOW = Path(__file__).parents[4] / "dev" / "data" / "cdnow_sample.txt"
#: Minor units by ISO 4217.
DIGITS = {"USD": 2, "EUR": 2, "COP": 2, "JPY": 0, "KRW": 0, "CLP": 0, "KWD": 3, "BHD": 3, "TND": 3}


def units(total: int, currency: str) -> Decimal:
    return Decimal(total).scaleb(-DIGITS[currency])


def added_up(parts: list[Part]) -> Decimal:
    return sum((part.price * part.quantity for part in parts), Decimal(0))


@given(st.integers(0, 10**9), st.integers(1, 1000), st.sampled_from(sorted(DIGITS)))
def test_it_adds_up_to_the_total_in_the_smallest_unit(total: int, quantity: int, currency: str) -> None:
    parts = money.parts(units(total, currency), quantity, currency)
    assert added_up(parts) == units(total, currency)
    assert sum(part.quantity for part in parts) == quantity
    assert all(1 <= part.quantity <= 100 for part in parts)


@given(st.integers(0, 10**9), st.integers(1, 1000), st.sampled_from(sorted(DIGITS)))
def test_it_uses_at_most_two_prices_one_unit_apart(total: int, quantity: int, currency: str) -> None:
    prices = sorted({part.price for part in money.parts(units(total, currency), quantity, currency)})
    assert len(prices) <= 2
    assert prices[-1] - prices[0] in (0, units(1, currency))
    assert all(price % units(1, currency) == 0 for price in prices)


@given(st.integers(0, 10**9), st.integers(1, 1000), st.sampled_from(sorted(DIGITS)))
def test_it_needs_no_more_parts_than_two_prices_and_hundreds_ask_for(total: int, quantity: int, currency: str) -> None:
    assert len(money.parts(units(total, currency), quantity, currency)) <= 2 + quantity // 100


@pytest.mark.parametrize(
    ("total", "quantity", "currency", "expected"),
    [
        ("29.33", 2, "USD", [("14.66", 1), ("14.67", 1)]),
        ("29.73", 1, "USD", [("29.73", 1)]),
        ("0.00", 3, "USD", [("0", 3)]),
        ("1000", 3, "JPY", [("333", 2), ("334", 1)]),
        ("1.000", 3, "KWD", [("0.333", 2), ("0.334", 1)]),
        ("250.00", 250, "USD", [("1", 100), ("1", 100), ("1", 50)]),
        ("0.01", 3, "USD", [("0", 2), ("0.01", 1)]),
    ],
)
def test_it_splits_as_a_person_would(total: str, quantity: int, currency: str, expected: list[tuple[str, int]]) -> None:
    parts = money.parts(Decimal(total), quantity, currency)
    assert [(part.price, part.quantity) for part in parts] == [(Decimal(price), count) for price, count in expected]


def test_it_rounds_a_total_finer_than_its_currency_half_up() -> None:
    assert added_up(money.parts(Decimal("10.005"), 3, "USD")) == Decimal("10.01")
    assert added_up(money.parts(Decimal("99.5"), 7, "JPY")) == Decimal("100")


def test_it_splits_a_negative_total_exactly_too() -> None:
    parts = money.parts(Decimal("-5.00"), 3, "USD")
    assert added_up(parts) == Decimal("-5.00")


def cdnow() -> Iterator[tuple[int, Decimal]]:
    """Quantity and dollars of each purchase."""
    for line in CDNOW.read_text().splitlines():
        *_, quantity, dollars = line.split()
        yield int(quantity), Decimal(dollars)


def test_it_keeps_a_real_shops_revenue_to_the_cent_through_json() -> None:
    sales = list(cdnow())
    sent = orjson.dumps(
        [[number(p.price), p.quantity] for count, total in sales for p in money.parts(total, count, "USD")]
    )
    # As Braze reads it: JSON numbers, exactly as they are written.
    received = json.loads(sent, parse_float=Decimal, parse_int=Decimal)
    assert len(sales) == 6919
    assert sum(price * quantity for price, quantity in received) == sum(total for _, total in sales)
    assert sum(total for _, total in sales) == Decimal("244091.94")


def test_it_knows_the_smallest_units_of_iso_4217() -> None:
    assert {currency: money.smallest_unit(currency) for currency in DIGITS} == {
        currency: Decimal(1).scaleb(-digits) for currency, digits in DIGITS.items()
    }


@given(st.lists(st.decimals(-1000, 10**9, places=3), max_size=20), st.sampled_from(sorted(DIGITS)))
def test_it_rounds_totals_so_that_their_sum_is_right(totals: list[Decimal], currency: str) -> None:
    unit = units(1, currency)
    rounded = money.rounded(totals, currency)
    assert abs(sum(rounded) - sum(totals)) <= unit / 2
    assert all(abs(after - before) <= unit and after % unit == 0 for after, before in zip(rounded, totals, strict=True))
    assert money.rounded(rounded, currency) == rounded


def test_it_knows_the_money_that_people_pay_with() -> None:
    assert {"USD", "EUR", "COP", "JPY", "KWD", "CLP", "XAF"} <= money.CURRENCIES
    assert not {"XXX", "XTS", "XAU", "XDR", "CLF", "usd", ""} & money.CURRENCIES
    assert all(len(code) == 3 for code in money.CURRENCIES)


@pytest.mark.parametrize(
    ("price", "currency", "words"),
    [("11.500", "USD", "11.50 USD"), ("-9", "USD", "-9.00 USD"), ("1200.000", "JPY", "1200 JPY"),
     ("1.2345", "USD", "1.2345 USD"), ("1.5", "KWD", "1.500 KWD"), ("0", "EUR", "0.00 EUR"),
     ("1000", "USD", "1000.00 USD")],
)  # fmt: skip
def test_an_amount_is_written_with_its_currency_s_decimals(price: str, currency: str, words: str) -> None:
    assert money.in_words(Decimal(price), currency) == words

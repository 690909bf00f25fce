"""Exact money: a line's total as prices per unit that add up to it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import zip_longest

#: Braze: "quantity must be <= 100" [Braze: purchase object].
MAX_QUANTITY = 100

#: ISO 4217 currencies whose smallest unit is not a hundredth.
NO_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
THREE_DECIMALS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
TWO_DECIMALS = frozenset(
    (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY "
        "COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS "
        "INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR "
        "MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD "
        "SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ).split()
)
#: Recently withdrawn from ISO 4217; older orders are still in them.
WITHDRAWN = frozenset("CUC HRK SLL ZWL".split())
#: Currencies that people pay with: ISO 4217 without funds, metals and test codes. Braze takes no others
#: [Braze: purchase object].
CURRENCIES = NO_DECIMALS | TWO_DECIMALS | THREE_DECIMALS | WITHDRAWN


@dataclass(frozen=True, slots=True)
class Part:
    """`quantity` units at `price` each, in the currency's base unit (dollars, not cents)."""

    price: Decimal
    quantity: int


def smallest_unit(currency: str) -> Decimal:
    if currency in NO_DECIMALS:
        return Decimal(1)
    return Decimal("0.001") if currency in THREE_DECIMALS else Decimal("0.01")


def in_words(price: Decimal, currency: str) -> str:
    """With the currency's number of decimals, or more if the price has more: 11.50 USD, 1200 JPY."""
    unit, exact = smallest_unit(currency), price.normalize()
    return f"{exact.quantize(unit) if exact.quantize(unit) == exact else exact:f} {currency}"


def rounded(totals: Sequence[Decimal], currency: str, given: Sequence[Decimal | None] = ()) -> list[Decimal]:
    """Each total in whole smallest units, rounded so that they add up to their rounded sum (half up).

    What rounding takes from one total, the next one gets. `given` has what some of them were rounded to before: that
    counts where it is within a unit of the total as it is now.
    """
    unit = smallest_unit(currency)
    result, exact, sum_of_units = [], Decimal(0), 0
    for total, before in zip_longest(totals, given):
        exact += total
        units = _units(exact, unit) - sum_of_units
        if before is not None and abs(before - total) < unit:
            units = _units(before, unit)
        sum_of_units += units
        result.append(units * unit)
    return result


def _units(amount: Decimal, unit: Decimal) -> int:
    return int((amount / unit).to_integral_value(ROUND_HALF_UP))


def parts(total: Decimal, quantity: int, currency: str) -> list[Part]:
    """Parts whose prices × quantities add up to `total` to the smallest unit of its currency.

    29.33 for 2 is one unit at 14.66 and one at 14.67.
    """
    unit = smallest_unit(currency)
    units = _units(total, unit)
    low, rest = divmod(units, quantity)
    return [
        Part(price * unit, count)
        for price, of_that_price in ((low, quantity - rest), (low + 1, rest))
        for count in _at_most_hundred(of_that_price)
    ]


def _at_most_hundred(quantity: int) -> Iterator[int]:
    while quantity > 0:
        yield min(quantity, MAX_QUANTITY)
        quantity -= MAX_QUANTITY

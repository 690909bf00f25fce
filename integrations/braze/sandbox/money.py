"""Revenue, exact to the digit: sums of the prices as they stood in the JSON text, never of floats."""

import json
from decimal import Context, Decimal
from typing import Any

# Wide enough that no sum of JSON doubles is ever rounded.
_EXACT = Context(prec=700, Emax=999_999, Emin=-999_999)


def exact_prices(body: bytes, purchases: list[Any]) -> list[Decimal]:
    """Each purchase's price as written in `body`; 0 where it is no number (Braze rejects that object)."""
    try:
        items = json.loads(body, parse_float=Decimal, parse_int=Decimal)["purchases"]
    except (ValueError, RecursionError):  # JSON that orjson reads and the standard library does not
        items = purchases
    return [_price(item) for item in items]


def amount_of(price: Decimal, quantity: int) -> Decimal:
    return _EXACT.multiply(price, Decimal(quantity))


def add_exact(totals: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    totals[currency] = _EXACT.add(totals.get(currency, Decimal(0)), amount)


def format_amount(amount: Decimal) -> str:
    """Plain decimal text with at least two places: 244091.94, 5.00, 0.125."""
    exponent = amount.as_tuple().exponent
    return f"{amount:f}" if isinstance(exponent, int) and exponent <= -2 else f"{amount:.2f}"


def format_amounts(totals: dict[str, Decimal]) -> dict[str, str]:
    return {currency: format_amount(amount) for currency, amount in sorted(totals.items())}


def _price(item: Any) -> Decimal:
    price = item.get("price") if isinstance(item, dict) else None
    if isinstance(price, Decimal):
        return price
    return Decimal(repr(price)) if price.__class__ in (int, float) else Decimal(0)

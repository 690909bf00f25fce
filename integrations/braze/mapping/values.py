"""Times, numbers and other scalars in JSON's own types."""

from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple
from uuid import UUID

from integrations.braze.mapping.text import fitted, is_fine, shown

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
#: Where Braze would put "now" for a time in the future, the time we know is kept under this property name.
ORIGINAL_TIME = "original_time"


class Mapped(NamedTuple):
    """An object for Braze, and what was changed so that Braze takes it."""

    body: dict[str, Any]
    adjustments: tuple[str, ...] = ()


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond, as Braze documents event and purchase times."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def number(value: Decimal) -> int | float:
    """A JSON number that prints as the decimal does: Braze wants no strings, revenue wants no noise."""
    return int(value) if value == value.to_integral_value() else float(value)


def is_exact(value: Decimal) -> bool:
    """Whether the JSON number has all the digits: from 16 on, a double may not."""
    return Decimal(repr(number(value))) == value


def scalar(name: str, value: Any, adjustments: list[str]) -> Any:
    """A text, number or boolean that Braze keeps as it is; None, with a word on it, where there is no such thing."""
    kind = value.__class__
    if kind is str:
        return value if is_fine(value) else fitted(name, value, adjustments)
    if kind is bool:
        return value
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else _digits(name, value, adjustments)
    if kind is float and isfinite(value):
        return value
    return _converted(name, value, adjustments)


def _digits(name: str, value: int, adjustments: list[str]) -> str:
    """No reader of JSON holds such a number exactly."""
    adjustments.append(f"{shown(name)}: a number of more than 64 bits is sent as text")
    return fitted(name, str(value), adjustments)


def _converted(name: str, value: Any, adjustments: list[str]) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return scalar(name, number(value), adjustments)
    if isinstance(value, datetime):
        return timestamp(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    adjustments.append(f"{shown(name)}: left out, {value!r} is neither text, number nor boolean"[:300])
    return None

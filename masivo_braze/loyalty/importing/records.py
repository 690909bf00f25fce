"""What a line of a file says, checked in itself; whether it goes with the database is for `apply` to see."""

from dataclasses import dataclass
from typing import Any


class BadLineError(Exception):
    """Why a line cannot be imported, in words for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class CustomerRecord:
    number: int
    external_id: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventRecord:
    number: int
    id: Any
    customer: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """`lines`: the values of all lines, each with its position; None leaves the order's lines alone.

    `is_placed`: the positions are the file's own, not merely the lines' places in its list.
    """

    number: int
    order_id: str
    customer: str
    values: dict[str, Any]
    lines: tuple[dict[str, Any], ...] | None
    makes_customer: bool = False
    is_placed: bool = True


@dataclass(frozen=True, slots=True)
class AudienceRecord:
    """`audience_id`: empty, where the name says which one. `customers`: None leaves the membership alone."""

    number: int
    audience_id: str
    name: str
    customers: tuple[str, ...] | None


ImportRecord = CustomerRecord | EventRecord | OrderRecord | AudienceRecord

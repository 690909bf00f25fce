"""Records of loyalty as the relay reads them, by the thousand: plain tuples with the models' own field names.

A model's instance costs ten times as much to build. The mapping takes either.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Self
from uuid import UUID

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from integrations.braze.models import BrazeProfile, BrazePurchase, Fate
from masivo_braze.loyalty.models import Customer, Event, Order, OrderLine


class CustomerRow(NamedTuple):
    """`tags` stays last: the relay reads it as text."""

    external_id: str
    email: str
    phone: str
    first_name: str
    last_name: str
    gender: str
    birth_date: date | None
    country: str
    city: str
    language: str
    time_zone: str
    is_anonymous: bool
    tier: str
    points: Decimal
    tags: dict[str, Any]


class CustomerName(NamedTuple):
    external_id: str


class EventRow(NamedTuple):
    pk: str
    type: str
    occurred_at: datetime
    data: dict[str, Any]
    customer: CustomerName


class EventRows(Mapping[str, EventRow]):
    """Events by their ids, decoded when they are used: in the thread that composes, not in the one that reads.

    One customer's decoded events are kept at a time: they take several times the memory of their text.
    """

    def __init__(self, texts: dict[str, tuple[str, str, str, CustomerName]]) -> None:
        self._texts = texts  #: type, time and data as the database writes them, and whose event it is
        self._rows: dict[str, EventRow] = {}
        self._customer: CustomerName | None = None

    def __getitem__(self, pk: str) -> EventRow:
        if row := self._rows.get(pk):
            return row
        type_, at, data, customer = self._texts[pk]
        if customer != self._customer:
            self._customer, self._rows = customer, {}
        self._rows[pk] = row = EventRow(pk, type_, from_time(at), from_json(data), customer)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


class LineRow(NamedTuple):
    data: dict[str, Any]
    position: int
    sku: str
    name: str
    quantity: int
    value: Decimal
    discounted_value: Decimal | None

    @property
    def paid(self) -> Decimal:
        return self.value if self.discounted_value is None else self.discounted_value


class Lines(list[LineRow]):
    """A list with the `all` of a related manager."""

    def all(self) -> Self:
        return self


class OrderRow(NamedTuple):
    customer: CustomerName
    lines: Lines
    effective_currency: str
    pk: int
    account_id: int
    order_id: str
    status: str
    fulfilled_at: datetime | None
    closed_at: datetime | None
    channel: str
    store: str
    payment_method: str


@dataclass(slots=True)
class PurchaseRow:
    """A `BrazePurchase` that is yet to be inserted."""

    account_id: int
    customer_external_id: str
    order_id: str
    line: int
    part: int
    purchase_id: str
    product_id: str
    price: Decimal
    quantity: int
    currency: str
    time: datetime
    properties: dict[str, Any]
    is_reversal: bool = False
    fate: str = Fate.PENDING
    error: str = ""
    delivery_id: UUID | None = None
    settled_at: datetime | None = None
    created_at: datetime = field(default_factory=timezone.now)
    pk: int | None = None


@dataclass(slots=True)
class Mirrored:
    """What is believed of a user. If only events or purchases are sent, the attributes are not read."""

    account_id: int
    external_id: str
    is_known: bool = False
    is_unproven: bool = False
    deleted_at: datetime | None = None
    last_accepted_at: datetime | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    uncertain: list[str] = field(default_factory=list)
    refused: dict[str, Any] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)


AnyCustomer = Customer | CustomerRow
AnyEvent = Event | EventRow
AnyLine = OrderLine | LineRow
AnyOrder = Order | OrderRow
AnyProfile = BrazeProfile | Mirrored
AnyPurchase = BrazePurchase | PurchaseRow

#: From this many digits on, only the standard library reads a number exactly. (With the digits after the first as a
#: look-ahead, the search takes half as long.)
_MANY = 19
_MANY_DIGITS = re.compile(rf"[0-9](?=[0-9]{{{_MANY - 1}}})")
_DIGITS = frozenset("0123456789")


def text_of(column: str) -> Cast:
    """A column cast to text: reading JSON and times from it is several times faster than by Django's converters."""
    return Cast(column, TextField())


def from_json(text: str) -> Any:
    """The JSON of a record, which may hold whatever the merchant put there, numbers of any length included."""
    if text == "{}":
        return {}
    # Nineteen digits in a row cover one of every nineteen places: checking only these rules out most texts.
    if not _DIGITS.isdisjoint(text[_MANY - 1 :: _MANY]) and _MANY_DIGITS.search(text):
        return json.loads(text)
    return orjson.loads(text)


def from_our_json(text: str) -> Any:
    """The JSON of the mirror: mapped values have no numbers that long."""
    return orjson.loads(text)


def from_uuid(text: str) -> str:
    """As Python writes it; SQLite keeps the digits alone."""
    return text if len(text) == 36 else str(UUID(text))


def from_time(text: str) -> datetime:
    """A date and time in UTC, as both databases write it."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

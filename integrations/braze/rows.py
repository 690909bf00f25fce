"""Records of loyalty as the relay reads them, by the thousand: plain tuples with the models' own field names.

A model's instance costs ten times as much to build. What maps a record takes either.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from masivo_braze.loyalty.models import Customer, Event


class CustomerRow(NamedTuple):
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
    pk: UUID
    type: str
    occurred_at: datetime
    data: dict[str, Any]
    customer: CustomerName


AnyCustomer = Customer | CustomerRow
AnyEvent = Event | EventRow

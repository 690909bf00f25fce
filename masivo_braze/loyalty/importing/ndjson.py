"""The NDJSON format: one JSON object a line, told apart by "type". `docs/import.md` has the fields."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from masivo_braze.loyalty.importing.records import (
    AudienceRecord,
    BadLineError,
    CustomerRecord,
    EventRecord,
    ImportRecord,
    OrderRecord,
)
from masivo_braze.loyalty.json_values import validate_data, validate_tags
from masivo_braze.loyalty.models import Audience, Customer, Event, Order, OrderLine

CUSTOMER_FIELDS = frozenset(
    {
        "email",
        "phone",
        "first_name",
        "last_name",
        "gender",
        "birth_date",
        "country",
        "city",
        "language",
        "time_zone",
        "is_anonymous",
        "tier",
        "points",
        "tags",
        "created_at",
    }
)
EVENT_FIELDS = frozenset({"occurred_at", "data"})
ORDER_FIELDS = frozenset(
    {"status", "currency", "placed_at", "fulfilled_at", "closed_at", "channel", "store", "payment_method", "data"}
)
LINE_FIELDS = frozenset({"position", "sku", "name", "quantity", "value", "discounted_value", "data"})
#: Filled in by the model: null in a file means the same as leaving them out.
FILLED_IN = frozenset({"fulfilled_at", "closed_at"})

#: What JSON may hold for a field, the first that fits. Django itself would make a string of a list.
ACCEPTED: "tuple[tuple[type[models.Field[Any, Any]], tuple[type, ...], str], ...]" = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.DecimalField, (int, Decimal, str), "a number"),
    (models.DateField, (str,), "a string such as 2024-05-31 or 2024-05-31T12:00:00Z"),
    (models.UUIDField, (str,), "a string with a UUID"),
    (models.CharField, (str, int), "a string"),
    (models.JSONField, (dict,), "a JSON object"),
)


def parse_ndjson(number: int, line: str) -> ImportRecord:
    record = _load(line)
    kind = record.pop("type", None)
    if kind == "customer":
        external_id = _required(Customer, record, "external_id")
        return CustomerRecord(number, external_id, _values(Customer, record, CUSTOMER_FIELDS))
    if kind == "event":
        return _event(number, record)
    if kind == "order":
        return _order(number, record)
    if kind == "audience":
        return _audience(number, record)
    raise BadLineError(f'"type" must be customer, event, order or audience, not {json.dumps(kind, default=str)}')


def _load(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"not JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadLineError("not a JSON object")
    return record


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _event(number: int, record: dict[str, Any]) -> EventRecord:
    pk = _required(Event, record, "id")
    customer = _customer(record)
    kind = _required(Event, {"type": record.pop("event_type", None)}, "type", "event_type")
    return EventRecord(number, pk, customer, {"type": kind, **_values(Event, record, EVENT_FIELDS)})


def _order(number: int, record: dict[str, Any]) -> OrderRecord:
    order_id = _required(Order, record, "order_id")
    customer = _customer(record)
    given_lines = record.pop("lines", ())
    lines = _order_lines(given_lines) if given_lines != () else None
    is_placed = any("position" in line for line in given_lines)
    given = {name: value for name, value in record.items() if name not in FILLED_IN or value is not None}
    return OrderRecord(number, order_id, customer, _values(Order, given, ORDER_FIELDS), lines, is_placed=is_placed)


def _order_lines(lines: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        raise BadLineError("lines: must be a list of JSON objects")
    parsed = []
    for position, line in enumerate(lines, start=1):
        try:
            for name in ("sku", "value"):
                _required(OrderLine, dict(line), name)
            parsed.append({"position": position, **_values(OrderLine, line, LINE_FIELDS)})
        except BadLineError as error:
            raise BadLineError(f"line {position} of the order: {error}") from error
    if len({line["position"] for line in parsed}) < len(parsed):
        raise BadLineError("lines: two have the same position")
    return tuple(parsed)


def _audience(number: int, record: dict[str, Any]) -> AudienceRecord:
    customers = record.pop("customers", None)
    if customers is not None and not isinstance(customers, list):
        raise BadLineError("customers: must be a list of external ids")
    ids = None if customers is None else tuple(_customer({"customer": item}) for item in customers)
    name = _required(Audience, record, "name")
    audience_id = _values(Audience, record, frozenset({"audience_id"})).get("audience_id", "")
    return AudienceRecord(number, audience_id, name, ids)


def _customer(record: dict[str, Any]) -> str:
    return str(_required(Customer, {"external_id": record.pop("customer", None)}, "external_id", "customer"))


def _required(model: type[models.Model], record: dict[str, Any], name: str, called: str = "") -> Any:
    """Take the field `name`, which the file calls `called`, out of the record."""
    value = record.pop(name, None)
    if value is None:
        raise BadLineError(f"{called or name}: is missing")
    return _clean(model, name, value, called or name)


def _values(model: type[models.Model], record: dict[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    if unknown := sorted(set(record) - set(allowed)):
        raise BadLineError(f"{', '.join(unknown)}: no such field")
    return {name: _clean(model, name, value, name) for name, value in record.items()}


def _clean(model: type[models.Model], name: str, value: Any, called: str) -> Any:
    """The value as the model's field wants it, checked by the field's own validators."""
    field = next(field for field in model._meta.concrete_fields if field.name == name)
    if value is None and field.null:
        return None
    _check_type(field, value, called)
    try:
        return _clean_value(field, value)
    except ValidationError as error:
        raise BadLineError(f"{called}: {' '.join(error.messages)}") from error
    except (ArithmeticError, ValueError) as error:
        raise BadLineError(f"{called}: {error}") from error


def _check_type(field: "models.Field[Any, Any]", value: Any, called: str) -> None:
    types, wanted = next((types, wanted) for kind, types, wanted in ACCEPTED if isinstance(field, kind))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise BadLineError(f"{called}: must be {wanted}")


def _clean_value(field: "models.Field[Any, Any]", value: Any) -> Any:
    if isinstance(field, models.JSONField):
        value = _plain(value)
        (validate_tags if field.name == "tags" else validate_data)(value)
        return value
    if isinstance(value, str):
        validate_data({"": value})  # for the characters that cannot be stored
    value = field.clean(value, None)
    return _in_utc(value) if isinstance(value, datetime) else value


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _plain(value: Any) -> Any:
    """JSON as Django stores it: numbers were read as Decimal, so that money stays exact."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value

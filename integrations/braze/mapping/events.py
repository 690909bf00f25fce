"""An event as an object of Braze's `events` array [Braze: event object]."""

from datetime import datetime
from typing import Any

import orjson

from integrations.braze.mapping.properties import MAX_PROPERTIES, Names, flattened, lightened
from integrations.braze.mapping.rows import AnyEvent
from integrations.braze.mapping.text import fitted, shown, summed_up
from integrations.braze.mapping.values import ORIGINAL_TIME, Mapped, timestamp

#: Property names that Braze refuses, and our own.
RESERVED = frozenset({"time", "event_name"})
OWN = frozenset({"event_id", ORIGINAL_TIME})
#: Braze: "102,400 bytes per event". Our own properties take at most `_OWN_BYTES` of them.
MAX_BYTES = 102_400
_OWN_BYTES = 150
_ROOM = MAX_PROPERTIES - len(OWN)
#: Braze drops an event of one of these names that has any property its schema does not know, `event_id` among them.
SCHEMA_NAMES = frozenset(
    f"ecommerce.{name}"
    for name in (
        "product_viewed", "cart_updated", "checkout_started", "order_placed", "order_cancelled", "order_refunded"
    )
)  # fmt: skip
_NAMES = Names(RESERVED | OWN)


def event(record: AnyEvent, now: datetime) -> Mapped:
    """The event as JSON within Braze's limits, and the adjustments."""
    mapped = _event(record, now)
    return mapped if len(mapped[0]) <= MAX_BYTES else _event(record, now, MAX_BYTES - _OWN_BYTES)


def _event(record: AnyEvent, now: datetime, max_bytes: int = 0) -> Mapped:
    """Without `max_bytes` the properties are not weighed: nearly every event is small enough."""
    adjustments: list[str] = []
    properties = flattened(record.data or {}, _NAMES, adjustments, _ROOM)
    if max_bytes:
        properties = lightened(properties, max_bytes, adjustments)
    properties["event_id"] = str(record.pk)
    body = {
        "external_id": record.customer.external_id,
        "name": _name(record.type, adjustments),
        "time": past(record.occurred_at, now, properties, adjustments),
        "properties": properties,
    }
    return orjson.dumps(body), summed_up(adjustments) if adjustments else ()


def past(moment: datetime, now: datetime, properties: dict[str, Any], adjustments: list[str]) -> str:
    """The time to send. Braze silently replaces a future time by the current one; so do we, and keep the real one."""
    if moment <= now:
        return timestamp(moment)
    properties[ORIGINAL_TIME] = timestamp(moment)
    adjustments.append(f"its time, {timestamp(moment)}, is yet to come: Braze gets the current one")
    return timestamp(now)


def _name(name: str, adjustments: list[str]) -> str:
    if name in SCHEMA_NAMES:
        adjustments.append(f"{shown(name)} is sent as “masivo_{name}”: Braze has rules of its own for that name")
        return f"masivo_{name}"
    return fitted("name", name, adjustments) or "unnamed"

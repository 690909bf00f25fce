"""Custom attribute values and properties: what Braze keeps of them and what it drops without a word [3.3, 3.4, 4, 5.2].

Every function takes the counter of silent drops, keyed by rule, and returns the value to keep or DROPPED.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import orjson

from integrations.braze.sandbox.dates import export_format, parse_any, parse_iso

MAX_STRING = 255
MAX_NESTING = 50  # ours: Braze names no limit, Python has one
MAX_ARRAY = 500
MAX_VALUE_BYTES = 102_400
MAX_PROPERTIES = 256
MAX_EVENT_BYTES = 102_400
MAX_PURCHASE_BYTES = 51_200

DROPPED: Final = object()
Drops = Counter[str]


def clean_custom(value: Any, drops: Drops) -> Any:
    """The custom attribute as the profile keeps it, or DROPPED: then the profile's old value stays."""
    kind = value.__class__
    if kind is str:
        return _clean_string(value, drops)
    if kind is list:
        return _clean_array(value, drops)
    if kind is dict:
        return _clean_object(value, drops)
    return value


def clean_event_properties(properties: dict[str, Any] | None, drops: Drops) -> dict[str, Any]:
    return _clean_properties(properties or {}, MAX_EVENT_BYTES, drops)


def clean_purchase_properties(properties: dict[str, Any] | None, drops: Drops) -> dict[str, Any]:
    """As for events, but 50 KB, and nested objects become strings [5.2]."""
    kept = _clean_properties(properties or {}, MAX_PURCHASE_BYTES, drops)
    return {name: _flatten(value) for name, value in kept.items()}


def _clean_string(text: str, drops: Drops) -> Any:
    if len(text) > MAX_STRING:
        drops["string_too_long"] += 1
        return DROPPED
    # Only what starts like a date can be one: a digit, or a weekday's name.
    if not text or not (text[0].isdigit() or text[0] in "MTWFS"):
        return text
    moment = parse_any(text)
    if moment is None:
        drops["date_kept_as_string"] += _looks_like_a_date(text)
        return text
    drops["string_became_time"] += parse_iso(text) is None
    return export_format(moment)


def _looks_like_a_date(text: str) -> bool:
    return len(text) >= 10 and text[:4].isdigit() and text[4] == "-" and text[7] == "-"


def _clean_array(items: list[Any], drops: Drops) -> Any:
    if len(items) > MAX_ARRAY and not any(item.__class__ is dict for item in items):
        drops["array_too_long"] += 1
        return DROPPED
    if not all(_is_valid_nested(item) for item in items):
        drops["nested_invalid"] += 1
        return DROPPED
    if _exceeds(items, MAX_VALUE_BYTES):
        drops["value_too_large"] += 1
        return DROPPED
    return _unique(items)


def _clean_object(value: dict[str, Any], drops: Drops) -> Any:
    if not _is_valid_nested(value):
        drops["nested_invalid"] += 1
        return DROPPED
    if _exceeds(value, MAX_VALUE_BYTES):
        drops["value_too_large"] += 1
        return DROPPED
    return value


def _is_valid_nested(value: Any, depth: int = 0) -> bool:
    """One invalid value or key anywhere inside drops the whole attribute [3.3]."""
    if value is None or depth > MAX_NESTING:
        return False
    if isinstance(value, str):
        return len(value) <= MAX_STRING
    if isinstance(value, list):
        return all(_is_valid_nested(item, depth + 1) for item in value)
    if not isinstance(value, dict):
        return True
    if "$time" in value:
        return _is_valid_time(value["$time"])
    return all(_is_valid_key(key) and _is_valid_nested(inner, depth + 1) for key, inner in value.items())


def _is_valid_key(key: str) -> bool:
    return 0 < len(key) <= MAX_STRING and not any(character in key for character in " .$")


def _is_valid_time(value: Any) -> bool:
    return isinstance(value, str) and parse_any(value) is not None


def _unique(items: list[Any]) -> list[Any]:
    """An array is a set; a value that comes again moves to the end [3.3]. Objects are compared by their JSON."""
    seen: dict[Any, Any] = {}
    for item in items:
        key = (item.__class__, item) if item.__class__ not in (dict, list) else orjson.dumps(item)
        seen.pop(key, None)
        seen[key] = item
    return list(seen.values())


def _clean_properties(properties: dict[str, Any], max_bytes: int, drops: Drops) -> dict[str, Any]:
    kept = {name: value for name, value in properties.items() if _is_kept(name, value, drops)}
    if len(kept) > MAX_PROPERTIES:
        drops["too_many_properties"] += len(kept) - MAX_PROPERTIES
        kept = dict(list(kept.items())[:MAX_PROPERTIES])
    if kept and _exceeds(kept, max_bytes):
        drops["properties_too_large"] += 1
        return {}
    return kept


def _is_kept(name: str, value: Any, drops: Drops) -> bool:
    if not 0 < len(name) <= MAX_STRING or name[0] == "$":
        drops["property_name_invalid"] += 1
    elif value is None:
        drops["property_null"] += 1
    elif value.__class__ is str and len(value) > MAX_STRING:
        drops["property_too_long"] += 1
    else:
        return True
    return False


def _exceeds(value: Any, limit: int) -> bool:
    """Whether the JSON is larger than `limit` bytes; a shallow look spares the encoding of what is plainly small."""
    values: Iterable[Any] = value.values() if isinstance(value, dict) else value
    if len(value) <= 64 and all(item.__class__ is not dict and item.__class__ is not list for item in values):
        return False
    return len(orjson.dumps(value)) > limit


def _flatten(value: Any) -> Any:
    if value.__class__ is dict:
        return orjson.dumps(value).decode()
    if value.__class__ is list:
        return [_flatten(item) for item in value]
    return value

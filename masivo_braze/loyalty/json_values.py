"""Checks the JSON of loyalty records, since databases differ in what they accept, and compares it."""

import math
from typing import Any

from django.core.exceptions import ValidationError

#: Far beyond any real event, and far from where Python's own JSON code gives up.
MAX_DEPTH = 100


def validate_tags(tags: Any) -> None:
    """ValidationError unless it is a flat dict of strings, numbers and booleans, as Masivo documents tags."""
    if not isinstance(tags, dict):
        raise ValidationError('Tags must be a JSON object such as {"vip": true}, not %(type)s.', params=_type(tags))
    for key, value in tags.items():
        if not isinstance(key, str) or not key:
            raise ValidationError("Tag names must be non-empty strings, not %(key)s.", params={"key": repr(key)})
        if not isinstance(value, str | int | float):
            raise ValidationError(
                "Tag “%(key)s” must be a string, a number or a boolean, not %(type)s.",
                params={"key": key, **_type(value)},
            )
        _validate_scalar(key)
        _validate_scalar(value)


def validate_data(data: Any) -> None:
    """ValidationError unless it is a dict, nested or not, that JSON and PostgreSQL's jsonb can hold."""
    if not isinstance(data, dict):
        raise ValidationError('This must be a JSON object such as {"key": "value"}, not %(type)s.', params=_type(data))
    _validate_nested(data, MAX_DEPTH)


def _validate_nested(value: Any, depth: int) -> None:
    if depth == 0:
        raise ValidationError("This is nested more than %(depth)s levels deep.", params={"depth": MAX_DEPTH})
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValidationError("Keys must be strings, not %(key)s.", params={"key": repr(key)})
            _validate_scalar(key)
            _validate_nested(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _validate_nested(item, depth - 1)
    else:
        _validate_scalar(value)


def _validate_scalar(value: Any) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise ValidationError("JSON has no %(type)s.", params=_type(value))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValidationError("JSON has no number %(value)s.", params={"value": value})
    if isinstance(value, str) and not _is_storable(value):
        raise ValidationError("%(value)s has characters that cannot be stored.", params={"value": repr(value)})


def validate_text(record: Any, name: str) -> None:
    """ValidationError at `name` if its text has characters that a database cuts or refuses."""
    value = record.__dict__.get(name)
    if isinstance(value, str) and not _is_storable(value):
        raise ValidationError({name: f"{value!r} has characters that cannot be stored."})


def _is_storable(text: str) -> bool:
    """PostgreSQL's jsonb takes neither NUL nor half of a surrogate pair."""
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)


def same_json(one: Any, other: Any) -> bool:
    """Equality as JSON has it: for Python, true is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def _type(value: Any) -> dict[str, str]:
    return {"type": "null" if value is None else type(value).__name__}

"""What a workspace's dashboard can be set to, as far as it changes what becomes of data [3.4, 4]."""

from dataclasses import dataclass, field
from typing import Any

from integrations.braze.sandbox.dates import export_format, parse_any
from integrations.braze.sandbox.values import DROPPED

TRUE = (True, 1, "1", "true", "t")
FALSE = (False, 0, "0", "false", "f")
ATTRIBUTE_TYPES = ("string", "number", "boolean", "time", "array")


@dataclass(slots=True)
class WorkspaceRules:
    """Blocklists drop data silently; a forced attribute type drops what cannot be read as that type."""

    blocked_attributes: set[str] = field(default_factory=set)
    blocked_events: set[str] = field(default_factory=set)
    blocked_products: set[str] = field(default_factory=set)
    attribute_types: dict[str, str] = field(default_factory=dict)
    # External ids Braze refuses by name: put here by hand, or because the profile turned out to be spam.
    blacklisted_users: set[str] = field(default_factory=set)


def coerce(value: Any, kind: str) -> Any:
    """`value` as the attribute's forced type, or DROPPED when it cannot be read as one [3.4]."""
    return _COERCE[kind](value)


def _boolean(value: Any) -> Any:
    key = value.lower() if isinstance(value, str) else value
    if isinstance(key, list | dict):
        return DROPPED
    return True if key in TRUE else False if key in FALSE else DROPPED


def _number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return DROPPED
    if number is None or number - number != 0:  # nan and infinity
        return DROPPED
    return int(number) if number.is_integer() else number


def _string(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else DROPPED


def _time(value: Any) -> Any:
    moment = parse_any(value) if isinstance(value, str) else None
    return export_format(moment) if moment else DROPPED


def _array(value: Any) -> Any:
    return value if isinstance(value, list) else DROPPED


_COERCE = {"boolean": _boolean, "number": _number, "string": _string, "time": _time, "array": _array}

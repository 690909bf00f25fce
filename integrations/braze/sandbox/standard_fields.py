"""The attributes Braze itself defines: what each accepts, and what silently becomes of the rest [3.2]."""

import re
from collections.abc import Callable
from typing import Any

from integrations.braze.sandbox.dates import parse_any, parse_iso
from integrations.braze.sandbox.reference import countries, is_time_zone, languages
from integrations.braze.sandbox.values import DROPPED, MAX_STRING, Drops

_DOB = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}$")
GENDERS = frozenset("MFONP")

# Carried by an attributes object without being attributes.
NOT_ATTRIBUTES = frozenset(
    ("external_id", "user_alias", "braze_id", "_update_existing_only", "_merge_objects", "push_token_import", "app_id")
)


def clean_standard(name: str, value: Any, drops: Drops) -> Any:
    """The standard field `name` as the profile keeps it (None: removed), or DROPPED: the old value stays."""
    return CLEANERS[name](value, drops)


def _text(value: Any, drops: Drops) -> Any:
    if not isinstance(value, str):
        drops["standard_type"] += 1
        return DROPPED
    if len(value) > MAX_STRING:
        drops["string_too_long"] += 1
        return DROPPED
    return value


def _country(value: Any, drops: Drops) -> Any:
    code = countries().get(value.strip().upper()) if isinstance(value, str) else None
    drops["country_unknown"] += code is None
    return code


def _only(is_allowed: Callable[[str], bool], rule: str) -> Callable[[Any, Drops], Any]:
    def clean(value: Any, drops: Drops) -> Any:
        if isinstance(value, str) and is_allowed(value):
            return value
        drops[rule] += 1
        return DROPPED

    return clean


def _dob(value: Any, drops: Drops) -> Any:
    if isinstance(value, str) and _DOB.match(value) and parse_iso(value):
        return value
    drops["dob_invalid"] += 1
    return DROPPED


def _time(value: Any, drops: Drops) -> Any:
    if isinstance(value, str) and parse_any(value):
        return value
    drops["standard_time_invalid"] += 1
    return DROPPED


def _flag(value: Any, drops: Drops) -> Any:
    if isinstance(value, bool):
        return value
    drops["standard_type"] += 1
    return DROPPED


def _object(value: Any, drops: Drops) -> Any:
    if isinstance(value, dict):
        return value
    drops["standard_type"] += 1
    return DROPPED


def _checked_before(value: Any, drops: Drops) -> Any:
    """A bad value of these rejects the object, so what arrives here is good (object_rules.py)."""
    return value


CLEANERS: dict[str, Callable[[Any, Drops], Any]] = {
    **dict.fromkeys(("first_name", "last_name", "home_city", "phone", "alias_name", "alias_label"), _text),
    "country": _country,
    "language": _only(lambda value: value in languages(), "language_invalid"),
    "gender": _only(GENDERS.__contains__, "gender_invalid"),
    "time_zone": _only(is_time_zone, "time_zone_invalid"),
    "dob": _dob,
    **dict.fromkeys(("date_of_first_session", "date_of_last_session", "marked_email_as_spam_at"), _time),
    **dict.fromkeys(("email_open_tracking_disabled", "email_click_tracking_disabled"), _flag),
    **dict.fromkeys(("facebook", "twitter"), _object),
    **dict.fromkeys(
        ("email", "email_subscribe", "push_subscribe", "subscription_groups", "current_location", "push_tokens"),
        _checked_before,
    ),
}

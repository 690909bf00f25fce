"""Which profile an object is about, and when it does not say so properly [1.2, 3.2]."""

import re
from typing import Any

PRIMARY = ("external_id", "user_alias", "braze_id")
MAX_EXTERNAL_ID_BYTES = 987

REQUIRED = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
ONLY_ONE = "You must specify only one of 'external_id', 'user_alias' or 'braze_id'"
TOO_LONG = "'external_id' must be fewer than 988 bytes"
BAD_EMAIL = "The value provided for the 'email' field is not a valid email."
BLACKLISTED = "provided external_id is blacklisted and disallowed"

_EMAIL = re.compile(r"[^\s@,;:<>()\[\]\"\\]{1,64}@[^\s@.,;:<>()\[\]\"\\]+(\.[^\s@.,;:<>()\[\]\"\\]+)+$")


def check_identifier(item: dict[str, Any]) -> str | None:
    """Braze's error text when `item` names no profile, or more than one; None when it names one."""
    external_id = item.get("external_id")
    if external_id.__class__ is str and "user_alias" not in item and "braze_id" not in item:
        # Nearly every object: worth a short cut. A character has up to 4 bytes.
        is_surely_good = 0 < len(external_id) <= MAX_EXTERNAL_ID_BYTES // 4
        return None if is_surely_good else _check_primary("external_id", external_id)
    given = [name for name in PRIMARY if item.get(name) is not None]
    if len(given) > 1:
        return ONLY_ONE
    if given:
        return _check_primary(given[0], item[given[0]])
    if isinstance(item.get("email"), str):
        return check_email(item["email"])
    return None if _is_text(item.get("phone")) else REQUIRED


def check_email(value: object) -> str | None:
    return None if isinstance(value, str) and _EMAIL.match(value) else BAD_EMAIL


def is_valid_alias(alias: object) -> bool:
    return isinstance(alias, dict) and _is_text(alias.get("alias_name")) and _is_text(alias.get("alias_label"))


def _check_primary(name: str, value: object) -> str | None:
    if name == "user_alias":
        return None if is_valid_alias(value) else REQUIRED
    if not _is_text(value):
        return REQUIRED
    is_long = name == "external_id" and len(str(value)) * 4 > MAX_EXTERNAL_ID_BYTES  # a character has up to 4 bytes
    return TOO_LONG if is_long and len(str(value).encode()) > MAX_EXTERNAL_ID_BYTES else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""

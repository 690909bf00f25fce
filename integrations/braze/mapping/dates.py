"""Which texts Braze reads as a time, as values of custom attributes [Braze: custom attributes]."""

import re
from datetime import datetime

_MONTH_FIRST = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(\d{4})", re.ASCII)
_WEEKDAY_FIRST = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\d\d) (\d\d) (\d\d:\d\d:\d\d)\.(Z|UTC|GMT|[+-]\d\d:?\d\d) (\d{4})", re.ASCII
)
_YEAR_FIRST = re.compile(r"\d{4}-..-", re.ASCII)
_COLON_MILLIS = re.compile(r"(.{10}T..:..:..):(\d{3})(.*)", re.ASCII)
_LAST_YEAR = 3000
#: What such a text can begin with. Nearly all texts begin otherwise, and cost one comparison.
_FIRST = frozenset("0123456789MTWFS")


def can_be_time(text: str) -> bool:
    """A cheap first check: False if Braze surely does not read the text as a time."""
    return text[:1] in _FIRST and 8 <= len(text) <= 40


def as_iso(text: str) -> str | None:
    """ISO 8601 for a text in another form that Braze reads as a time (month or weekday first); else None."""
    if found := _MONTH_FIRST.fullmatch(text):
        return _checked(f"{found[4]}-{found[1]:0>2}-{found[3]:0>2}")
    if found := _WEEKDAY_FIRST.fullmatch(text):
        zone = "Z" if found[4] in ("UTC", "GMT") else found[4]
        return _checked(f"{found[5]}-{found[1]}-{found[2]}T{found[3]}{zone}")
    return None


def stays_text(text: str) -> bool:
    """Whether it looks like an ISO date to a person, but not to Braze."""
    return bool(_YEAR_FIRST.match(text)) and len(text) >= 10 and _checked(_COLON_MILLIS.sub(r"\1.\2\3", text)) is None


def _checked(iso: str) -> str | None:
    try:
        return iso if datetime.fromisoformat(iso).year <= _LAST_YEAR else None
    except ValueError:
        return None

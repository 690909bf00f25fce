"""The time formats Braze reads [3.3, 4]. No zone means UTC."""

import re
from datetime import UTC, datetime

_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
_COLON_MILLIS = re.compile(r"(.{10}T..:..:..):([0-9]{3})(Z|[+-][0-9]{2}:?[0-9]{2})?$")
_MONTH_FIRST = re.compile(r"([0-9]{1,2})([/-])([0-9]{1,2})\2([0-9]{4})$")
_WEEKDAY_FIRST = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([0-9]{2}) ([0-9]{2}) ([0-9:]{8})\.(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}) ([0-9]{4})$"
)
MAX_YEAR = 3000


def parse_iso(text: str) -> datetime | None:
    """An ISO 8601 time, or Braze's variant of it with a colon before the milliseconds; None when it is neither."""
    if not _ISO.match(text):
        text = _COLON_MILLIS.sub(r"\1.\2\3", text)
        if not _ISO.match(text):
            return None
    return _from_iso(text)


def parse_any(text: str) -> datetime | None:
    """A time in any of the formats in which a custom attribute's string becomes a time; None when it stays a string."""
    if len(text) < 8 or len(text) > 40:
        return None
    found = parse_iso(text) or _month_first(text) or _weekday_first(text)
    return found if found and found.year <= MAX_YEAR else None


def export_format(moment: datetime) -> str:
    """As /users/export/ids writes times: 2021-11-23T22:42:08.040Z [recorded]."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _from_iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the second: year 1 or 9999 pushed over the edge by its offset
        return None


def _month_first(text: str) -> datetime | None:
    found = _MONTH_FIRST.match(text)
    return _from_iso(f"{found[4]}-{found[1]:0>2}-{found[3]:0>2}") if found else None


def _weekday_first(text: str) -> datetime | None:
    found = _WEEKDAY_FIRST.match(text)
    if not found:
        return None
    zone = "Z" if found[4] in ("UTC", "GMT") else found[4]
    return _from_iso(f"{found[5]}-{found[1]}-{found[2]}T{found[3]}{zone}")

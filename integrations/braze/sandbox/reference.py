"""The value lists Braze checks against: countries, languages, currencies, time zones [3.2, 5.2]."""

import zoneinfo
from functools import cache, lru_cache
from importlib.resources import files

# Braze also takes the names Rails gives to zones; its documentation shows one of them.
RAILS_TIME_ZONES = frozenset(
    f"{name} Time (US & Canada)" for name in ("Eastern", "Central", "Mountain", "Pacific", "Atlantic")
)


@cache
def languages() -> frozenset[str]:
    """ISO 639-1 codes."""
    return frozenset(_read("languages.txt").split())


@cache
def currencies() -> frozenset[str]:
    """ISO 4217 alphabetic codes."""
    return frozenset(_read("currencies.txt").split())


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Whether it is IANA's name of a zone, as far as this machine knows them, or one of Rails'."""
    try:
        return name in RAILS_TIME_ZONES or bool(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # the last: a folder of zones, or too long a name
        return False


@cache
def countries() -> dict[str, str]:
    """Upper-case ISO 3166-1 alpha-2 code or English name → code (from the tz database's iso3166.tab, public domain)."""
    pairs = [line.split("\t") for line in _read("countries.tsv").splitlines()]
    aliases = {"UNITED KINGDOM": "GB", "UK": "GB", "GREAT BRITAIN": "GB", "USA": "US", "UNITED STATES OF AMERICA": "US"}
    return {name.upper(): code for code, name in pairs} | {code: code for code, _ in pairs} | aliases


def _read(name: str) -> str:
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")

"""Countries, languages and time zones as the codes that Braze keeps; it silently drops the rest."""

import re
import unicodedata
from functools import cache, lru_cache
from zoneinfo import available_timezones

import pycountry

#: What people write and ISO 3166 does not.
_COUNTRY_ALIASES = {
    "uk": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "northern ireland": "GB",
    "america": "US", "united states of america": "US", "russia": "RU", "south korea": "KR", "korea": "KR",
    "north korea": "KP", "turkey": "TR", "czech republic": "CZ", "ivory coast": "CI", "cape verde": "CV",
    "swaziland": "SZ", "macedonia": "MK", "burma": "MM", "brunei": "BN", "syria": "SY", "laos": "LA", "vatican": "VA",
    "vatican city": "VA", "palestine": "PS", "holland": "NL", "east timor": "TL", "macau": "MO", "micronesia": "FM",
    "democratic republic of the congo": "CD", "dr congo": "CD", "republic of the congo": "CG", "uae": "AE",
    "falkland islands": "FK", "british virgin islands": "VG", "us virgin islands": "VI", "reunion": "RE",
}  # fmt: skip
#: Codes that ISO 639-1 has replaced, and names for which it uses others.
_LANGUAGE_ALIASES = {
    "iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "farsi": "fa", "mandarin": "zh", "cantonese": "zh",
    "castilian": "es", "flemish": "nl", "greek": "el", "malay": "ms", "swahili": "sw", "nepali": "ne", "bokmal": "nb",
    "norwegian bokmal": "nb", "punjabi": "pa", "slovene": "sl", "valencian": "ca", "tagalog": "tl", "filipino": "tl",
}  # fmt: skip
#: In the tz database, but no real time zones; and a language code that ISO 639-1 withdrew.
_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
_WITHDRAWN = frozenset({"sh"})
_PUNCTUATION = re.compile(r"[^\w]+")


@lru_cache(maxsize=4096)
def country(text: str) -> str | None:
    """ISO 3166-1 alpha-2 of a code or an English name, however capitalised; None if unknown."""
    return _countries().get(_key(text))


@lru_cache(maxsize=4096)
def language(text: str) -> str | None:
    """ISO 639-1 of a code, a locale (`en-US`) or an English name; None if unknown."""
    return _languages().get(_key(text.replace("_", "-").partition("-")[0]))


@lru_cache(maxsize=4096)
def time_zone(text: str) -> str | None:
    """The IANA name, however capitalised; None if unknown."""
    return _time_zones().get(text.strip().casefold())


def _key(text: str) -> str:
    """Without accents, punctuation and capitals."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    words = _PUNCTUATION.sub(" ", plain.replace("&", " and ").replace(".", "").replace("'", "").casefold()).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)


@cache
def _countries() -> dict[str, str]:
    known = dict(_COUNTRY_ALIASES)
    for entry in pycountry.countries:
        names = (entry.alpha_2, entry.alpha_3, entry.name, *_optional(entry, "common_name", "official_name"))
        known |= dict.fromkeys(map(_key, names), entry.alpha_2)
    return known


@cache
def _languages() -> dict[str, str]:
    """Codes win over names, and living codes over aliases."""
    entries = [e for e in pycountry.languages if getattr(e, "alpha_2", "") and e.alpha_2 not in _WITHDRAWN]
    known = {_key(entry.name): entry.alpha_2 for entry in entries} | _LANGUAGE_ALIASES
    for entry in entries:
        known |= dict.fromkeys((*_optional(entry, "bibliographic"), entry.alpha_3, entry.alpha_2), entry.alpha_2)
    return known


@cache
def _time_zones() -> dict[str, str]:
    return {name.casefold(): name for name in available_timezones() - _NO_ZONES}


def _optional(entry: object, *names: str) -> list[str]:
    return [value for name in names if (value := getattr(entry, name, None))]

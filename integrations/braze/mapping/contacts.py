"""E-mail addresses and phone numbers in the form Braze takes."""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumberFormat

#: Plain addresses alone: Braze refuses a customer's whole object for one it does not like [Braze: EMAIL_BAD_FORMAT],
#: so quoted, dotted-twice and non-ASCII ones, whose standing with it is not documented, are not risked.
_EMAIL = re.compile(
    r"(?=.{1,64}@)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{1,59})",
    re.IGNORECASE | re.ASCII,
)
MAX_EMAIL = 254


def email(text: str) -> str | None:
    """The address, or None if Braze might refuse it."""
    return text if len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) else None


@lru_cache(maxsize=65_536)
def phone(text: str, country: str | None) -> str | None:
    """The number in E.164; None if it is not one. `country` (ISO 3166-1 alpha-2) is needed to read national notation.

    Cached: parsing takes a tenth of a customer's mapping, and most changes of a customer leave the number as it is.
    """
    for candidate in (text, f"+{text[2:]}" if text.startswith("00") else ""):
        try:
            number = phonenumbers.parse(candidate, country)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return None

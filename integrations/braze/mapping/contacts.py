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
    """The address, None where Braze might refuse it."""
    return text if len(text) <= MAX_EMAIL and _EMAIL.fullmatch(text) else None


@lru_cache(maxsize=65_536)
def phone(text: str, country: str | None) -> str | None:
    """In E.164, the country (ISO 3166-1 alpha-2) being the hint for national notation; None where it is no number.

    Remembered, because reading one takes a tenth of a customer's mapping, and customers change more than their numbers.
    """
    for candidate in (text, f"+{text[2:]}" if text.startswith("00") else ""):
        try:
            number = phonenumbers.parse(candidate, country)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return None

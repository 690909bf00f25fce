"""A customer's attributes: the standard fields, the loyalty fields and the tags, each checked before it is sent."""

from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from integrations.braze.mapping import contacts, dates, places
from integrations.braze.mapping.dates import can_be_time
from integrations.braze.mapping.rows import AnyCustomer
from integrations.braze.mapping.text import MAX_TEXT, fitted, is_fine, shown
from integrations.braze.mapping.values import scalar

AUDIENCE_PREFIX = "masivo_"
TAG_PREFIX = "tag_"

#: Braze's letters for gender [Braze: user attributes object].
GENDERS = {"MALE": "M", "FEMALE": "F", "OTHER": "O"}
PERSONAL = ("email", "phone", "first_name", "last_name")
#: Earlier dates of birth are placeholders: nobody alive was born then.
FIRST_BIRTH = date(1900, 1, 1)


@dataclass(slots=True)
class Attributes:
    """What Braze should hold: `values`, with None for an attribute that should be absent.

    Attributes in `left_out` have a value that Braze would not take. Neither that value nor a null is sent, so Braze
    keeps what it has, and the mirror stays right. `adjustments` has a sentence for each changed or left out attribute.
    """

    values: dict[str, Any] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    adjustments: dict[str, str] = field(default_factory=dict)

    def leave_out(self, name: str, why: str) -> None:
        self.left_out.add(name)
        self.adjustments[name] = f"{name}: left out, {why}"

    def put(self, name: str, value: Any, changes: list[str]) -> None:
        """`changes` are sentences about how `value` was changed; it is None if nothing of it can be sent."""
        if changes:
            self.adjustments[name] = "; ".join(changes)
        if value is None and changes:
            self.left_out.add(name)
        else:
            self.values[name] = value

    def __ior__(self, other: "Attributes") -> "Attributes":
        self.values |= other.values
        if other.adjustments:
            self.left_out |= other.left_out
            self.adjustments |= other.adjustments
        return self


def profile(customer: AnyCustomer, today: date) -> Attributes:
    """The standard and loyalty attributes.

    An anonymous customer's name, e-mail and phone are placeholders of Masivo's and stay out.
    """
    result = Attributes()
    country = places.country(customer.country)
    _add_read(result, "country", customer.country, country, "is not a country that ISO 3166 knows")
    _add_personal(result, customer, country)
    gender, language, zone = customer.gender, customer.language, customer.time_zone
    _add_read(result, "gender", gender, GENDERS.get(gender.strip()), "is none of MALE, FEMALE, OTHER")
    _add_birth(result, customer.birth_date, today)
    _add_text(result, "home_city", customer.city)
    _add_read(result, "language", language, places.language(language), "is not a language that ISO 639-1 knows")
    _add_read(result, "time_zone", zone, places.time_zone(zone), "is not an IANA time zone")
    _add_custom(result, "loyalty_tier", customer.tier.strip() or None)
    _add_custom(result, "loyalty_points", customer.points)
    return result


def tags(customer: AnyCustomer) -> Attributes:
    """`tag_<key>` for each tag. The prefix keeps tags apart from all other attributes.

    If two tags come to the same name, the one that needed no change keeps it; the other is left out.
    """
    result = Attributes()
    given = customer.tags or {}
    for key in sorted(given, key=_claim):
        name = tag_attribute(key)
        if name == TAG_PREFIX:
            result.leave_out(TAG_PREFIX + key, "a tag needs a name")
        elif name in result.values or name in result.left_out:
            result.leave_out(TAG_PREFIX + key, f"another tag has the name {shown(name)} in Braze")
        else:
            _add_custom(result, name, given[key])
            if len(TAG_PREFIX + key) > MAX_TEXT:
                result.adjustments[name] = f"{shown(name)}: the name is cut to {MAX_TEXT} characters"
    return result


@lru_cache(maxsize=8192)
def tag_attribute(key: str) -> str:
    """The name as Braze keeps it: without spaces around it, at most 255 characters [Braze: custom attributes]."""
    return fitted(key, TAG_PREFIX + key, []).rstrip()


@lru_cache(maxsize=8192)
def _claim(key: str) -> tuple[bool, str]:
    """Sort key: of tags with the same attribute name, the first one keeps it."""
    return (tag_attribute(key) != TAG_PREFIX + key, key)


@lru_cache(maxsize=8192)
def audience_attribute(name: str) -> str:
    """The name as Braze keeps it, so that what is nulled later is what was set."""
    return fitted(name, AUDIENCE_PREFIX + name, []).rstrip()


def _add_personal(result: Attributes, customer: AnyCustomer, country: str | None) -> None:
    if customer.is_anonymous:
        result.values |= dict.fromkeys(PERSONAL)
        return
    email, phone = customer.email.strip(), customer.phone.strip()
    _add_read(result, "email", email, contacts.email(email) if email else None, "is not an address that Braze takes")
    why = "is not a phone number" if country else "is not a phone number that can be read without a country"
    _add_read(result, "phone", phone, contacts.phone(phone, country) if phone else None, why)
    _add_text(result, "first_name", customer.first_name)
    _add_text(result, "last_name", customer.last_name)


def _add_read(result: Attributes, name: str, text: str, value: str | None, why_not: str) -> None:
    """`value` is what `text` was read as; None if the text is empty or cannot be sent."""
    if value is None and (text := text.strip()):
        result.leave_out(name, f"{shown(text)} {why_not}")
    else:
        result.values[name] = value


def _add_birth(result: Attributes, born: date | None, today: date) -> None:
    if born and not FIRST_BIRTH <= born <= today:
        result.leave_out("dob", f"nobody's date of birth is {born.isoformat()}")
    else:
        result.values["dob"] = born.isoformat() if born else None


def _add_text(result: Attributes, name: str, text: str) -> None:
    text = text.strip()
    if is_fine(text):
        result.values[name] = text or None
        return
    changes: list[str] = []
    result.put(name, fitted(name, text, changes) or None, changes)


def _add_custom(result: Attributes, name: str, value: Any) -> None:
    """Braze reads some texts as times [Braze: custom attributes]; the adjustments say what becomes of them."""
    if (
        value is None
        or value.__class__ is bool
        or (value.__class__ is str and is_fine(value) and not can_be_time(value))
    ):
        result.values[name] = value
        return
    changes: list[str] = []
    kept = scalar(name, value, changes)
    if kept.__class__ is str and can_be_time(kept):
        if iso := dates.as_iso(kept):
            changes.append(f"{name}: {shown(kept)} is sent as {iso}, the time that Braze reads in it")
            kept = iso
        elif dates.stays_text(kept):
            changes.append(f"{name}: Braze keeps {shown(kept)} as text, not as a time")
    result.put(name, kept, changes)

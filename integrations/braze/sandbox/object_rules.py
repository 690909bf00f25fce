"""The rules that reject one object of a /users/track request, each with Braze's words [1.2, 3.2, 4, 5.2, 9.2].

A check returns the error's text, or None when Braze would queue the object. Where no documented or recorded text
exists the text is ours, marked below, and docs/sandbox.md says so.
"""

import math
from typing import Any

from integrations.braze.sandbox.dates import parse_iso
from integrations.braze.sandbox.identifiers import (
    BAD_EMAIL,
    BLACKLISTED,
    REQUIRED,
    TOO_LONG,
    check_email,
    check_identifier,
)
from integrations.braze.sandbox.reference import currencies

ECOMMERCE_EVENTS = frozenset(
    "ecommerce." + name
    for name in (
        "product_viewed",
        "cart_updated",
        "checkout_started",
        "order_placed",
        "order_cancelled",
        "order_refunded",
    )
)
SUBSCRIPTION_STATES = ("subscribed", "unsubscribed", "opted_in")
MAX_QUANTITY = 100
MAX_NAME = 255

BAD_SUBSCRIPTION = "'{}' must be 'subscribed', 'unsubscribed', or 'opted_in'"
BAD_QUANTITY = "'quantity' is not valid"
BAD_CURRENCY = "'currency' must be an ISO 4217 currency"
BAD_PROPERTIES = "Invalid 'properties' field"
# What Braze's documentation calls some of them; live answers have the sentences [1.8, 9.2].
CODES = {
    BAD_SUBSCRIPTION.format("email_subscribe"): "BAD_EMAIL_SUBSCRIPTION_STATE",
    BAD_SUBSCRIPTION.format("push_subscribe"): "BAD_PUSH_SUBSCRIPTION_STATE",
    BAD_EMAIL: "EMAIL_BAD_FORMAT",
    TOO_LONG: "EXTERNAL_USER_ID_TOO_LARGE",
    BLACKLISTED: "BLACKLISTED_EXTERNAL_USER_ID",
}
# Ours, because no source gives Braze's words:
BAD_NAME = "'name' is required and must be a string"
BAD_TIME = "'time' is required and must be an ISO 8601 time"
BAD_PRODUCT = "'product_id' is required and must be a string of at most 255 characters"
BAD_PRICE = "'price' is required and must be a number"

_EVENT_RESERVED = frozenset(("time", "event_name"))
_PURCHASE_RESERVED = frozenset(("time", "product_id", "quantity", "event_name", "price", "currency"))
_OPERATORS = frozenset(("inc", "add", "remove", "$add", "$remove", "$update"))


class NotSimulated(Exception):
    """The request uses a part of Braze that this sandbox does not have: the whole request is answered 400."""


def check_attributes(item: object) -> str | None:
    if not isinstance(item, dict):
        return REQUIRED
    if item.get("push_token_import") and not _is_token_import(item):
        return "BAD_PUSH_TOKEN_IMPORT"
    _refuse_unsimulated_attributes(item)
    problem = check_identifier(item)
    if problem:
        return problem
    if item.get("email") is not None and (bad_email := check_email(item["email"])):
        return bad_email
    return _check_subscriptions(item) or _check_location(item) or _check_push_tokens(item)


def check_event(item: object) -> str | None:
    if not isinstance(item, dict):
        return REQUIRED
    name = item.get("name")
    if name.__class__ is str and name in ECOMMERCE_EVENTS:
        raise NotSimulated(f"the {name} schema")
    problem = check_identifier(item)
    if problem:
        return problem
    if name.__class__ is not str or not name:
        return BAD_NAME
    return _check_time(item) or _check_properties(item, _EVENT_RESERVED)


def check_purchase(item: object) -> str | None:
    if not isinstance(item, dict):
        return REQUIRED
    return (
        check_identifier(item) or _check_sale(item) or _check_time(item) or _check_properties(item, _PURCHASE_RESERVED)
    )


def _check_sale(item: dict[str, Any]) -> str | None:
    product = item.get("product_id")
    if not isinstance(product, str) or not 0 < len(product) <= MAX_NAME:
        return BAD_PRODUCT
    currency, price, quantity = item.get("currency"), item.get("price"), item.get("quantity", 1)
    if not isinstance(currency, str) or currency not in currencies():
        return BAD_CURRENCY
    if price.__class__ not in (int, float) or not math.isfinite(price):
        return BAD_PRICE
    return None if quantity.__class__ is int and 0 < quantity <= MAX_QUANTITY else BAD_QUANTITY


def _check_time(item: dict[str, Any]) -> str | None:
    time = item.get("time")
    return None if time.__class__ is str and parse_iso(time) else BAD_TIME


def _check_properties(item: dict[str, Any], reserved: frozenset[str]) -> str | None:
    properties = item.get("properties")
    if properties is None:
        return None
    if properties.__class__ is not dict or not reserved.isdisjoint(properties):
        return BAD_PROPERTIES
    return None


def _check_subscriptions(item: dict[str, Any]) -> str | None:
    for field in ("email_subscribe", "push_subscribe"):
        if field in item and item[field] not in SUBSCRIPTION_STATES:
            return BAD_SUBSCRIPTION.format(field)
    if "email_subscription_info" in item:
        return "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO"
    return _check_subscription_groups(item["subscription_groups"]) if "subscription_groups" in item else None


def _check_subscription_groups(groups: object) -> str | None:
    if not isinstance(groups, list):
        return "BAD_SUBSCRIPTION_GROUP_ARRAY"
    for group in groups:
        if not isinstance(group, dict):
            return "BAD_SUBSCRIPTION_GROUP_HASH"
        if not isinstance(group.get("subscription_group_id"), str):
            return "BAD_SUBSCRIPTION_GROUP_ID"
        if group.get("subscription_state") not in ("subscribed", "unsubscribed"):
            return "BAD_SUBSCRIPTION_GROUP_STATE"
    return None


def _check_location(item: dict[str, Any]) -> str | None:
    location = item.get("current_location")
    if location is None:
        return None
    if not isinstance(location, dict):
        return "BAD_LOCATION_UPDATE"
    bounds = (("latitude", 90), ("longitude", 180))
    return None if all(_is_within(location.get(name), bound) for name, bound in bounds) else "BAD_LOCATION_UPDATE"


def _is_within(value: object, bound: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -bound <= value <= bound


def _check_push_tokens(item: dict[str, Any]) -> str | None:
    tokens = item.get("push_tokens")
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        return "BAD_PUSH_TOKEN_VALUE"
    for token in tokens:
        if not isinstance(token.get("app_id"), str):
            return "BAD_PUSH_TOKEN_APP_ID"
        if not isinstance(token.get("token"), str):
            return "BAD_PUSH_TOKEN_STRING"
        device = token.get("device_id", "x" * 8)
        if not isinstance(device, str) or not 8 <= len(device.encode()) <= 255:
            return "BAD_DEVICE_ID"
    return None


def _is_token_import(item: dict[str, Any]) -> bool:
    """An import of anonymous tokens has tokens, and neither external_id nor braze_id [3.1]."""
    return bool(item.get("push_tokens")) and item.get("external_id") is None and item.get("braze_id") is None


def _refuse_unsimulated_attributes(item: dict[str, Any]) -> None:
    for name in ("_merge_objects", "push_token_import"):
        if item.get(name):
            raise NotSimulated(name)
    for name, value in item.items():
        if value.__class__ is dict and name != "user_alias" and (used := _OPERATORS.intersection(value)):
            raise NotSimulated(f"{sorted(used)[0]!r} in the attribute {name!r}")

"""Putting one accepted object into its profile, with all that Braze drops or rewrites silently on the way [3 to 5]."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from integrations.braze.sandbox.dates import export_format, parse_iso
from integrations.braze.sandbox.money import amount_of
from integrations.braze.sandbox.profiles import Profile
from integrations.braze.sandbox.rules import coerce
from integrations.braze.sandbox.standard_fields import CLEANERS, NOT_ATTRIBUTES, clean_standard
from integrations.braze.sandbox.values import (
    DROPPED,
    MAX_STRING,
    clean_custom,
    clean_event_properties,
    clean_purchase_properties,
)

if TYPE_CHECKING:
    from integrations.braze.sandbox.workspace import Workspace


def apply_attributes(workspace: Workspace, item: dict[str, Any], request: int, now: float) -> None:
    if not workspace.keep_profiles:
        return
    profile = _resolve(workspace, item, item.get("_update_existing_only"), now)
    if profile is None:
        return
    workspace.journal.add("attributes", item, request, now)
    profile.updated_at = now
    for name, value in item.items():
        if name in NOT_ATTRIBUTES:
            continue
        if name in CLEANERS:
            _set_standard(workspace, profile, name, value)
        else:
            _set_custom(workspace, profile, name.strip(), value)


def apply_event(workspace: Workspace, item: dict[str, Any], request: int, now: float) -> None:
    totals = workspace.totals
    if item["name"] in workspace.rules.blocked_events:
        totals.dropped["blocklisted"] += 1
        return
    if workspace.keep_profiles:
        profile = _resolve_for_action(workspace, item, now)
        if profile is None:
            return
        properties = clean_event_properties(item.get("properties"), totals.dropped)
        profile.record_event({"name": item["name"], "time": _moment(workspace, item, now), "properties": properties})
        _after_action(workspace, profile, "event", item, request, now)
    totals.events += 1
    totals.count_id("event_id", item)


def apply_purchase(workspace: Workspace, item: dict[str, Any], price: Decimal, request: int, now: float) -> None:
    totals, quantity = workspace.totals, item.get("quantity", 1)
    if item["product_id"] in workspace.rules.blocked_products:
        totals.dropped["blocklisted"] += 1
        return
    amount = amount_of(price, quantity)
    if workspace.keep_profiles:
        profile = _resolve_for_action(workspace, item, now)
        if profile is None:
            return
        profile.record_purchase(_purchase(workspace, item, price, quantity, now), amount)
        _after_action(workspace, profile, "purchase", item, request, now)
    totals.count_purchase(quantity, item["currency"], amount)
    totals.count_id("purchase_id", item)


def _purchase(workspace: Workspace, item: dict[str, Any], price: Decimal, quantity: int, now: float) -> dict[str, Any]:
    return {
        "product_id": item["product_id"],
        "currency": item["currency"],
        "price": str(price),
        "quantity": quantity,
        "time": _moment(workspace, item, now),
        "properties": clean_purchase_properties(item.get("properties"), workspace.totals.dropped),
    }


def _resolve_for_action(workspace: Workspace, item: dict[str, Any], now: float) -> Profile | None:
    """Events and purchases never create a profile for an alias alone [1.2]."""
    only_existing = True if item.get("user_alias") is not None else item.get("_update_existing_only")
    return _resolve(workspace, item, only_existing, now)


def _resolve(workspace: Workspace, item: dict[str, Any], only_existing: object, now: float) -> Profile | None:
    """The object's profile, created when Braze would create it [1.2]; None when the object silently does nothing."""
    profile = workspace.profiles.find(item)
    workspace.lag.remember(item.get("external_id"), profile, now)
    if profile is not None:
        return profile
    if only_existing is None:
        only_existing = item.get("user_alias") is not None
    created = None if only_existing else workspace.profiles.create(item, now)
    if created is None:
        workspace.totals.dropped["unknown_braze_id" if item.get("braze_id") else "update_existing_only"] += 1
    elif created.external_id is None and created.alias is None:
        _set_contacts(workspace, created, item)
    return created


def _set_contacts(workspace: Workspace, profile: Profile, item: dict[str, Any]) -> None:
    """A profile created by email or phone alone is found by them from then on."""
    for name in ("email", "phone"):
        if isinstance(item.get(name), str):
            workspace.profiles.set_standard(profile, name, item[name])


def _set_standard(workspace: Workspace, profile: Profile, name: str, value: Any) -> None:
    kept = None if value is None else clean_standard(name, value, workspace.totals.dropped)
    if kept is not DROPPED:
        workspace.profiles.set_standard(profile, name, kept)


def _set_custom(workspace: Workspace, profile: Profile, name: str, value: Any) -> None:
    drops, rules = workspace.totals.dropped, workspace.rules
    if not 0 < len(name) <= MAX_STRING:
        drops["attribute_name_invalid"] += 1
    elif name in rules.blocked_attributes:
        drops["blocklisted"] += 1
    elif value is None:
        profile.custom.pop(name, None)
    else:
        _keep_custom(workspace, profile, name, value)


def _keep_custom(workspace: Workspace, profile: Profile, name: str, value: Any) -> None:
    forced = workspace.rules.attribute_types.get(name)
    coerced = coerce(value, forced) if forced else value
    if coerced is DROPPED:
        workspace.totals.dropped["type_mismatch"] += 1
        return
    is_plain = forced == "string" and len(coerced) <= MAX_STRING  # a forced string never becomes a time
    kept = coerced if is_plain else clean_custom(coerced, workspace.totals.dropped)
    if kept is not DROPPED:
        profile.custom[name] = kept


def _moment(workspace: Workspace, item: dict[str, Any], now: float) -> str:
    """The object's time in UTC; a time in the future becomes now [4, 5.2]."""
    moment = parse_iso(item["time"])
    if moment is None or moment.timestamp() > now:
        workspace.totals.dropped["future_time"] += 1
        moment = datetime.fromtimestamp(now, UTC)
    return export_format(moment)


def _after_action(
    workspace: Workspace, profile: Profile, kind: str, item: dict[str, Any], request: int, now: float
) -> None:
    workspace.journal.add(kind, item, request, now)
    profile.updated_at = now
    if profile.external_id is not None and profile.is_spam:
        workspace.rules.blacklisted_users.add(profile.external_id)

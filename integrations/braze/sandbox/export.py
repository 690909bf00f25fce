"""POST /users/export/ids, in the shape of the recorded answers, and what it needs of /users/delete's identifiers."""

from datetime import UTC, datetime
from typing import Any

from integrations.braze.sandbox.dates import export_format, parse_iso
from integrations.braze.sandbox.identifiers import is_valid_alias
from integrations.braze.sandbox.messages import Response, json_response, message
from integrations.braze.sandbox.profiles import Profile, Tally
from integrations.braze.sandbox.workspace import Workspace

MAX_IDS = 50
TOO_MANY = "The max number of external_ids and aliases per request was exceeded"
_SUCCESS = {"message": "success"}
# Ours: no source gives Braze's words.
NO_IDS = "At least one of 'external_ids', 'user_aliases', 'braze_id', 'email_address' or 'phone' is required"


def export(workspace: Workspace, document: Any, now: float) -> Response:
    """`users` in the order asked for; ids without a profile are listed in `invalid_user_ids` [recorded]."""
    wanted = _wanted(document)
    if wanted is None:
        return message(400, NO_IDS)
    if len(wanted) > MAX_IDS:
        return message(400, TOO_MANY)
    found = [(item, _visible(workspace, item, now)) for item in wanted]
    users = [describe(profile) for _, profile in found if profile is not None]
    missing = [item["external_id"] for item, profile in found if profile is None and "external_id" in item]
    fields = document.get("fields_to_export")
    if isinstance(fields, list):
        users = [{name: value for name, value in user.items() if name in fields} for user in users]
    return json_response(201, {"users": users} | ({"invalid_user_ids": missing} if missing else {}) | _SUCCESS)


def _wanted(document: Any) -> list[dict[str, Any]] | None:
    """The identifiers asked for, each as an object `ProfileStore.find` reads; None when there are none, or bad ones."""
    if not isinstance(document, dict):
        return None
    ids, aliases = document.get("external_ids") or [], document.get("user_aliases") or []
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        return None
    if not isinstance(aliases, list) or not all(map(is_valid_alias, aliases)):
        return None
    wanted = [{"external_id": one} for one in ids] + [{"user_alias": one} for one in aliases]
    for field, name in (("braze_id", "braze_id"), ("email_address", "email"), ("phone", "phone")):
        if isinstance(document.get(field), str):
            wanted.append({name: document[field]})
    return wanted or None


def _visible(workspace: Workspace, item: dict[str, Any], now: float) -> Profile | None:
    current = workspace.profiles.find(item)
    external_id = item.get("external_id")
    return workspace.lag.seen(external_id, current, now) if external_id is not None else current


def describe(profile: Profile) -> dict[str, Any]:
    """The profile as Braze exports it; fields that hold nothing are left out [recorded]."""
    standard = profile.standard
    user = {
        "created_at": _timestamp(profile.created_at),
        "external_id": profile.external_id,
        "user_aliases": [dict(zip(("alias_label", "alias_name"), profile.alias, strict=True))] if profile.alias else [],
        "appboy_id": profile.braze_id,
        "braze_id": profile.braze_id,
        "first_name": standard.get("first_name"),
        "last_name": standard.get("last_name"),
        "random_bucket": profile.random_bucket,
        "custom_attributes": profile.custom or None,
        "dob": _date(standard.get("dob")),
        **{name: value for name, value in standard.items() if name not in ("first_name", "last_name", "dob")},
        "custom_events": _tallies(profile.event_names) or None,
        "purchases": _tallies(profile.products) or None,
        "total_revenue": _dollars(profile),
        "push_subscribe": standard.get("push_subscribe", "subscribed"),
        "email_subscribe": standard.get("email_subscribe", "subscribed"),
    }
    return {name: value for name, value in user.items() if value is not None}


def _timestamp(moment: float) -> str:
    return export_format(datetime.fromtimestamp(moment, UTC))


def _date(text: str | None) -> str | None:
    moment = parse_iso(text) if text else None
    return export_format(moment) if moment else None


def _dollars(profile: Profile) -> float | int:
    """Braze shows US dollars; other currencies it converts at daily rates, which this sandbox does not have."""
    amount = profile.revenue.get("USD")
    return float(amount) if amount else 0


def _tallies(tallies: dict[str, Tally]) -> list[dict[str, Any]]:
    return [
        {"name": name, "first": tally.first, "last": tally.last, "count": tally.count}
        for name, tally in tallies.items()
    ]

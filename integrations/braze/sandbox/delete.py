"""POST /users/delete: one kind of identifier, at most 50, and `deleted` counts what was asked for [6]."""

from collections.abc import Callable
from functools import partial
from typing import Any

from integrations.braze.sandbox.identifiers import is_valid_alias
from integrations.braze.sandbox.messages import Response, json_response, message
from integrations.braze.sandbox.profiles import Profile, ProfileStore
from integrations.braze.sandbox.workspace import Workspace

MAX_IDS = 50
KINDS = ("external_ids", "user_aliases", "braze_ids", "email_addresses", "phone_numbers")
TOO_MANY = "The max number of ids per request was exceeded"
TOO_MANY_ALIASES = "The max number of external_ids and aliases per request was exceeded"
# Ours: no source gives Braze's words.
ONE_KIND = f"Exactly one of {', '.join(KINDS)} is required"
BAD_ITEM = "Every entry of '{}' must be a valid identifier"

Find = Callable[[], list[Profile]]
PRIORITIES = ("identified", "unidentified", "most_recently_updated")


def delete(workspace: Workspace, document: Any, request: int, now: float) -> Response:
    given = [kind for kind in KINDS if document.get(kind) is not None] if isinstance(document, dict) else []
    if len(given) != 1 or not isinstance(document[given[0]], list) or not document[given[0]]:
        return message(400, ONE_KIND)
    kind, items = given[0], document[given[0]]
    if len(items) > MAX_IDS:
        return message(400, TOO_MANY_ALIASES if kind == "user_aliases" else TOO_MANY)
    if not all(_is_valid(kind, item) for item in items):
        return message(400, BAD_ITEM.format(kind))
    for item in items:
        workspace.delete(_finder(workspace.profiles, kind, item), request, now)
    return json_response(201, {"deleted": len(items), "message": "success"})


def _is_valid(kind: str, item: Any) -> bool:
    if kind in ("external_ids", "braze_ids"):
        return isinstance(item, str) and item != ""
    if kind == "user_aliases":
        return is_valid_alias(item)
    contact = "email" if kind == "email_addresses" else "phone"
    order = item.get("prioritization") if isinstance(item, dict) else None
    has_order = isinstance(order, list) and order != [] and all(word in PRIORITIES for word in order)
    return has_order and isinstance(item.get(contact), str)


def _finder(profiles: ProfileStore, kind: str, item: Any) -> Find:
    """Looks the profiles up when the delete takes effect, not when it was asked for."""
    if kind in ("email_addresses", "phone_numbers"):
        return partial(_by_contact, profiles, "email" if kind == "email_addresses" else "phone", item)
    field = {"external_ids": "external_id", "braze_ids": "braze_id", "user_aliases": "user_alias"}[kind]
    return partial(_by_identifier, profiles, {field: item})


def _by_identifier(profiles: ProfileStore, item: dict[str, Any]) -> list[Profile]:
    found = profiles.find(item)
    return [found] if found else []


def _by_contact(profiles: ProfileStore, name: str, item: dict[str, Any]) -> list[Profile]:
    """The one profile that the prioritization leaves; none when more than one is left [6]."""
    found = profiles.with_contact(name, item[name])
    for word in item["prioritization"]:
        if word == "most_recently_updated":
            found = sorted(found, key=lambda profile: profile.updated_at)[-1:]
        else:
            found = [
                profile for profile in found if (profile.external_id is not None) == (word == "identified")
            ] or found
    return found if len(found) == 1 else []

"""The inspection endpoints under /control: what tests, the demo and the page read, and how faults are set."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import orjson

from integrations.braze.sandbox.api import BrazeApi
from integrations.braze.sandbox.export import describe
from integrations.braze.sandbox.messages import Request, Response, json_response, message
from integrations.braze.sandbox.money import format_amounts
from integrations.braze.sandbox.profiles import Profile
from integrations.braze.sandbox.workspace import Workspace

DEFAULT_LIMIT = 100


def summary(workspace: Workspace) -> dict[str, Any]:
    """Totals over the sandbox's life; `profiles` is how many there are now."""
    totals = workspace.totals
    endpoints = ("track", "delete", "export")
    return {
        "profiles": len(workspace.profiles),
        "events": totals.events,
        "purchases": totals.purchases,
        "purchase_units": totals.purchase_units,
        "revenue": format_amounts(totals.revenue),
        "requests": {name: totals.requests[name] for name in endpoints},
        "statuses": dict(sorted(totals.statuses.items())),
        "dropped": {rule: count for rule, count in sorted(totals.dropped.items()) if count},
        "rejected": totals.rejected,
        "duplicates": {name: totals.duplicates[name] for name in ("event_id", "purchase_id")},
        "overlaps": totals.overlaps,
    }


def profile_document(profile: Profile) -> dict[str, Any]:
    """Everything held about a profile, exact (Braze's own export is at /users/export/ids)."""
    exported = describe(profile)
    return {
        "external_id": profile.external_id,
        "braze_id": profile.braze_id,
        "user_aliases": exported["user_aliases"],
        "created_at": exported["created_at"],
        "attributes": {**profile.standard, **profile.custom},
        "standard_attributes": profile.standard,
        "custom_attributes": profile.custom,
        "event_counts": {name: tally.count for name, tally in profile.event_names.items()},
        "events": profile.events,
        "purchases": profile.purchases,
        "revenue": format_amounts(profile.revenue),
    }


class Control:
    """Routes /control/*. `reset` puts the sandbox back to how it started."""

    def __init__(self, api: BrazeApi, reset: Callable[[], None]) -> None:
        self._api = api
        self._reset = reset
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/control/summary"): self._summary,
            ("GET", "/control/profile"): self._profile,
            ("GET", "/control/profiles"): self._profiles,
            ("GET", "/control/requests"): self._requests,
            ("GET", "/control/log"): self._journal,
            ("GET", "/control/faults"): self._list_faults,
            ("POST", "/control/faults"): self._set_faults,
            ("POST", "/control/reset"): self._do_reset,
        }

    def handle(self, request: Request) -> Response:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return message(404, "Not Found")
        self._api.workspace.advance(self._api.clock())
        try:
            return route(request)
        except (ValueError, TypeError, KeyError) as error:
            return message(400, str(error))

    def _summary(self, request: Request) -> Response:
        return json_response(200, summary(self._api.workspace))

    def _profile(self, request: Request) -> Response:
        profile = self._api.workspace.profiles.find({"external_id": request.query.get("external_id", "")})
        return json_response(200, profile_document(profile)) if profile else message(404, "No such profile")

    def _profiles(self, request: Request) -> Response:
        """The first external ids with a prefix, in the order in which they were created."""
        prefix, limit = request.query.get("prefix", ""), _number(request, "limit", DEFAULT_LIMIT)
        ids = self._api.workspace.profiles.by_external_id
        return json_response(200, list(islice((one for one in ids if one.startswith(prefix)), limit)))

    def _requests(self, request: Request) -> Response:
        limit, after = _number(request, "limit", DEFAULT_LIMIT), _number(request, "after", 0)
        with_body = request.query.get("bodies") == "1"
        return json_response(200, [entry.document(with_body) for entry in self._api.log.newest(limit, after)])

    def _journal(self, request: Request) -> Response:
        if not self._api.workspace.journal.enabled:
            return message(404, "Start the sandbox with --journal to have this")
        after, limit = _number(request, "after", 0), _number(request, "limit", 100_000)
        return json_response(200, self._api.workspace.journal.after(after, limit))

    def _list_faults(self, request: Request) -> Response:
        return json_response(200, self._api.faults.listing())

    def _set_faults(self, request: Request) -> Response:
        """A list of faults, or one as an object, replaces what was in force; [] or {} clears."""
        document = orjson.loads(request.body or b"[]")
        faults = document.get("faults", [document] if document else []) if isinstance(document, dict) else document
        self._api.faults.set(faults)
        return self._list_faults(request)

    def _do_reset(self, request: Request) -> Response:
        self._reset()
        return json_response(200, summary(self._api.workspace))


def _number(request: Request, name: str, default: int) -> int:
    number = int(request.query.get(name, default))
    if number < 0:
        raise ValueError(f"{name}: expected a number from 0 up")
    return number

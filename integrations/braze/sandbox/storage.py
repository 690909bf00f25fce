"""Keeping the workspace in a file (--state): one JSON document, replaced as a whole."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from integrations.braze.sandbox.profiles import Profile, Tally
from integrations.braze.sandbox.totals import Totals
from integrations.braze.sandbox.workspace import Workspace

VERSION = 1


class Storage:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved_at = 0

    def load(self, workspace: Workspace) -> None:
        """Fill the empty workspace from the file, if there is one. Raises ValueError for a file of another kind."""
        if not self._path.exists():
            return
        document = orjson.loads(self._path.read_bytes())
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise ValueError(f"{self._path} is no state file of this sandbox")
        for saved in document["profiles"]:
            workspace.profiles.add(_profile(saved))
        workspace.profiles.serial = document["serial"]
        workspace.totals = _totals(document["totals"])
        workspace.rules.blacklisted_users |= set(document["blacklisted_users"])

    def save_if_changed(self, workspace: Workspace) -> None:
        if sum(workspace.totals.requests.values()) != self._saved_at:
            self.save(workspace)

    def save(self, workspace: Workspace) -> None:
        document = {
            "version": VERSION,
            "serial": workspace.profiles.serial,
            "profiles": list(workspace.profiles),
            "totals": workspace.totals,
            "blacklisted_users": sorted(workspace.rules.blacklisted_users),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(self._path.name + ".new")
        beside.write_bytes(orjson.dumps(document, default=_plain))
        beside.replace(self._path)
        self._saved_at = sum(workspace.totals.requests.values())


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"cannot save a {type(value).__name__}")


def _profile(saved: dict[str, Any]) -> Profile:
    profile = Profile(**saved)
    profile.alias = (saved["alias"][0], saved["alias"][1]) if saved["alias"] else None
    profile.event_names = {name: Tally(**tally) for name, tally in saved["event_names"].items()}
    profile.products = {name: Tally(**tally) for name, tally in saved["products"].items()}
    profile.revenue = _decimals(saved["revenue"])
    return profile


def _totals(saved: dict[str, Any]) -> Totals:
    counters = {name: Counter(saved[name]) for name in ("requests", "statuses", "dropped", "duplicates")}
    seen = {name: set(hashes) for name, hashes in saved["seen"].items()}
    return Totals(**{**saved, **counters, "revenue": _decimals(saved["revenue"]), "seen": seen})


def _decimals(saved: dict[str, str]) -> dict[str, Decimal]:
    return {currency: Decimal(amount) for currency, amount in saved.items()}

"""The full sequence of what was applied, per customer: how tests check order. Off unless asked for."""

from typing import Any


class Journal:
    """Entries {"seq", "request", "at", "customer", "kind", "object"}, in the order in which they took effect.

    "kind": "attributes", "event", "purchase" or "delete"; "request": the number of the request in the request log;
    "customer": the external id, or null when the object named its profile otherwise.
    """

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._entries: list[dict[str, Any]] = []

    def add(self, kind: str, item: dict[str, Any], request: int, at: float) -> None:
        if self.enabled:
            entry = {"seq": len(self._entries) + 1, "request": request, "at": at, "customer": item.get("external_id")}
            self._entries.append(entry | {"kind": kind, "object": item})

    def after(self, seq: int, limit: int) -> list[dict[str, Any]]:
        return self._entries[max(0, seq) : max(0, seq) + limit]

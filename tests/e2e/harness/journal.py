"""What the sandbox applied, in order."""

from collections import defaultdict
from typing import Any

import requests

PAGE = 5_000


class Braze:
    """Read once: make another one to see what was applied since."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self.journal = self._journal()
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.purchases: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.journal:
            if entry["kind"] == "event":
                self.events[entry["object"]["properties"]["event_id"]].append(entry)
            elif entry["kind"] == "purchase":
                self.purchases[entry["object"]["properties"]["purchase_id"]].append(entry)

    def summary(self) -> dict[str, Any]:
        return self._session.get(f"{self.url}/control/summary", timeout=30).json()

    def profile(self, external_id: str) -> dict[str, Any]:
        answer = self._session.get(f"{self.url}/control/profile", params={"external_id": external_id}, timeout=30)
        return answer.json() if answer.status_code == 200 else {}

    def _journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            after = entries[-1]["seq"] if entries else 0
            found = self._session.get(f"{self.url}/control/log", params={"after": after, "limit": PAGE}, timeout=60)
            if not found.json():
                return entries
            entries += found.json()

"""What the running sandbox holds, asked over its control addresses."""

from typing import Any

import requests


class Sandbox:
    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # loopback only: a proxy of the environment has no part in it

    def summary(self) -> dict[str, Any]:
        """Counts of profiles, events, purchases, requests; revenue per currency as decimal text."""
        return self._ask("GET", "/control/summary")

    def profile(self, external_id: str) -> dict[str, Any]:
        """Everything held about one user; {} when there is none."""
        return self._ask("GET", "/control/profile", params={"external_id": external_id})

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Replace the faults in force; none: answer normally again."""
        self._ask("POST", "/control/faults", json={"faults": faults})

    def reset(self) -> None:
        self._ask("POST", "/control/reset", json={})

    def _ask(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        response = self._session.request(method, self.url + path, timeout=30, **kwargs)
        if response.status_code == 404:
            return {}
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

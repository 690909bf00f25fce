"""A sandbox called without sockets and under a clock of the test's own."""

from dataclasses import dataclass
from typing import Any

import orjson

from integrations.braze.sandbox.app import Sandbox
from integrations.braze.sandbox.control import profile_document, summary
from integrations.braze.sandbox.messages import Request, Response
from integrations.braze.sandbox.options import Options

START = 1_795_000_000.0  # 2026-11-18T11:06:40Z
TIME = "2026-01-02T03:04:05Z"


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Braze:
    """`options` are those of `Options`. Every call answers with the sandbox's Response."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.sandbox = Sandbox(Options(**options), self.clock)

    def post(
        self,
        path: str,
        document: Any = None,
        *,
        body: bytes | None = None,
        authorization: str = "Bearer a-test-key",
        content_type: str = "application/json",
    ) -> Response:
        headers = {"authorization": authorization, "content-type": content_type}
        payload = orjson.dumps(document) if body is None else body
        return self.sandbox.handle(Request("POST", path, "", headers, payload))

    def get(self, path: str) -> Any:
        path, _, query = path.partition("?")
        return orjson.loads(self.sandbox.handle(Request("GET", path, query, {}, b"")).body)

    def track(self, **arrays: Any) -> Response:
        return self.post("/users/track", arrays)

    def delete(self, *external_ids: str) -> Response:
        return self.post("/users/delete", {"external_ids": list(external_ids)})

    def export(self, *external_ids: str) -> dict[str, Any]:
        return json_of(self.post("/users/export/ids", {"external_ids": list(external_ids)}))

    def attributes(self, **attributes: Any) -> dict[str, Any]:
        """Set attributes of the user u and return all the profile then has."""
        response = self.track(attributes=[{"external_id": "u", **attributes}])
        assert response.status == 201, response.body
        return self.profile("u")["attributes"]

    def event(self, **fields: Any) -> dict[str, Any]:
        """Send one event of the user u and return it as the profile keeps it."""
        response = self.track(events=[{"external_id": "u", "name": "visit", "time": TIME, **fields}])
        assert response.status == 201, response.body
        return self.profile("u")["events"][-1]

    def purchase(self, **fields: Any) -> dict[str, Any]:
        sale = {"external_id": "u", "product_id": "p", "currency": "USD", "price": 1.5, "time": TIME, **fields}
        response = self.track(purchases=[sale])
        assert response.status == 201, response.body
        return self.profile("u")["purchases"][-1]

    def profile(self, external_id: str) -> dict[str, Any]:
        found = self.sandbox.workspace.profiles.by_external_id[external_id]
        return profile_document(found)

    def has(self, external_id: str) -> bool:
        return external_id in self.sandbox.workspace.profiles.by_external_id

    @property
    def summary(self) -> dict[str, Any]:
        return summary(self.sandbox.workspace)

    @property
    def dropped(self) -> dict[str, int]:
        return self.summary["dropped"]


def json_of(response: Response) -> Any:
    return orjson.loads(response.body)

"""The request and the response as the rest of the sandbox sees them, free of sockets."""

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

import orjson

JSON = "application/json"
Manner = Literal["answer", "close", "hang", "truncate"]


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query_text: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    keep_alive: bool = True

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_text))


@dataclass(slots=True)
class Response:
    """`manner` and `delay` say how it leaves: faults make it late, cut short, or never come at all."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    manner: Manner = "answer"
    users: set[str] | None = None


def json_response(status: int, document: Any) -> Response:
    return Response(status, orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))


def message(status: int, text: str, **more: Any) -> Response:
    """Braze's error shape: {"message": ...}."""
    return json_response(status, {"message": text, **more})

"""Reading a body: strict JSON, and not nested deeper than anything downstream can walk."""

from itertools import chain
from typing import Any

import orjson

MAX_DEPTH = 200  # orjson writes 254 levels; a profile or a log entry adds a few around the body's own


class BadJson(ValueError):
    """Not a JSON document Braze would take."""


def parse_body(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadJson(str(error)) from error
    # Nothing nests deeper than it has brackets, so most bodies need no walk.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_deeper(document, MAX_DEPTH):
        raise BadJson("nested too deeply")
    return document


def _is_deeper(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        inner = chain.from_iterable(item.values() if item.__class__ is dict else item for item in level)
        level = [item for item in inner if item.__class__ is dict or item.__class__ is list]
        if not level:
            return False
    return True

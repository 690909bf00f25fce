"""The recent requests, for the page and for tests."""

from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

KEPT = 1_000
MAX_KEPT_BODY = 65_536


@dataclass(slots=True)
class LogEntry:
    """`ms`: what the sandbox took plus the delay a fault asked for. `key` is redacted."""

    seq: int
    at: float
    method: str
    path: str
    key: str = ""
    status: int = 0
    ms: float = 0.0
    size: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    fault: str = ""
    answer: str = ""
    body: bytes = b""

    def document(self, with_body: bool) -> dict[str, Any]:
        entry = asdict(self)
        entry["body"] = self.body.decode("utf-8", "replace") if with_body else None
        return entry if with_body else {name: value for name, value in entry.items() if name != "body"}


class RequestLog:
    def __init__(self) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=KEPT)
        self._seq = 0

    def begin(self, method: str, path: str, body: bytes, now: float) -> LogEntry:
        self._seq += 1
        kept = body if len(body) <= MAX_KEPT_BODY else b""
        entry = LogEntry(self._seq, now, method, path, size=len(body), body=kept)
        self._entries.appendleft(entry)
        return entry

    def newest(self, limit: int, after: int = 0) -> list[LogEntry]:
        """Newest first, only those with a number above `after`."""
        return [entry for entry in islice(self._entries, limit) if entry.seq > after]

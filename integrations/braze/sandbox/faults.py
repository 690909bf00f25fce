"""Faults on demand: what a test or a person asks the sandbox to do wrong, and to which requests."""

import random
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

WHEN = ("before", "after")


@dataclass(slots=True)
class Fault:
    """One fault. The first group says which requests it hits, the second what happens to them.

    endpoint   "track", "delete", "export"; empty: all three
    key        only requests with this API key
    contains   only requests whose body contains this text: a poison predicate, together with status 400
    after      leave the first N matching requests alone
    times      hit at most N requests, then stop; 0: until cleared
    rate, seed hit a matching request with this probability, repeatably

    status     answer with it instead; `apply` true: only after the request has taken effect
    message    the answer's message, in place of Braze's usual one
    html       answer HTML, as a gateway does (default for 502, 503, 504)
    retry_after  seconds named on a status of 429
    latency    seconds before the answer leaves, or [lowest, highest], or {"median": s, "sigma": s} (log-normal);
               the request takes effect at once
    close      close the connection without an answer, "before" or "after" the request takes effect
    hang       never answer, the request taking effect ("after") or not ("before")
    truncate   cut the answer's body short and close
    drip       send the answer in small pieces over so many seconds
    reorder    hold the request's effect back until another request of one of its users took effect, at most
               so many seconds
    """

    endpoint: str = ""
    key: str = ""
    contains: str = ""
    after: int = 0
    times: int = 0
    rate: float = 1.0
    seed: int | None = None
    status: int = 0
    apply: bool = False
    message: str = ""
    html: bool | None = None
    retry_after: float = 1.0
    latency: float | list[float] | dict[str, float] = 0.0
    close: str = ""
    hang: str = ""
    truncate: bool = False
    drip: float = 0.0
    reorder: float = 0.0

    def seconds(self, generator: random.Random) -> float:
        """How long this fault delays one answer."""
        if isinstance(self.latency, dict):
            return self.latency["median"] * generator.lognormvariate(0.0, self.latency.get("sigma", 0.5))
        if isinstance(self.latency, list):
            return generator.uniform(*self.latency)
        return self.latency

    @property
    def keeps_from_applying(self) -> bool:
        return (self.status != 0 and not self.apply) or self.close == "before" or self.hang == "before"

    @property
    def name(self) -> str:
        done = [f"status {self.status}"] if self.status else []
        done += [word for word in ("latency", "close", "hang", "truncate", "drip", "reorder") if getattr(self, word)]
        return ", ".join(done)


class Faults:
    """The faults in force. Set from the loop (control endpoint) or from a test's thread, hence the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[_Active] = []

    def add(self, **fault: Any) -> None:
        """Add one fault: `faults.add(status=503, times=5)`. Raises ValueError naming what is wrong with it."""
        active = _Active(parse_fault(fault))
        with self._lock:
            self._active.append(active)

    def set(self, faults: Iterable[dict[str, Any]]) -> None:
        """Replace all faults."""
        active = [_Active(parse_fault(fault)) for fault in faults]
        with self._lock:
            self._active = active

    def clear(self) -> None:
        self.set([])

    def listing(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(active.fault) | {"hits": active.hits} for active in self._active]

    def pick(self, endpoint: str, key: str, body: bytes) -> "list[tuple[Fault, float]]":
        """The faults that hit this request, each with the latency drawn for it."""
        if not self._active:
            return []
        with self._lock:
            hit = [active for active in self._active if active.hit(endpoint, key, body)]
            return [(active.fault, active.fault.seconds(active.random)) for active in hit]


class _Active:
    """A fault in force, with what it remembers: how many requests it saw and hit, and its own random numbers."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.hits = 0
        self.random = random.Random(fault.seed)  # noqa: S311 - repeatable faults, not secrets

    def hit(self, endpoint: str, key: str, body: bytes) -> bool:
        fault = self.fault
        if fault.endpoint not in ("", endpoint) or fault.key not in ("", key):
            return False
        if fault.contains and fault.contains.encode() not in body:
            return False
        self.seen += 1
        if self.seen <= fault.after or (fault.times and self.hits >= fault.times):
            return False
        if fault.rate < 1.0 and self.random.random() >= fault.rate:
            return False
        self.hits += 1
        return True


def parse_fault(document: dict[str, Any]) -> Fault:
    """A Fault from JSON or keyword arguments; raises ValueError naming what is wrong."""
    unknown = set(document) - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"unknown fault setting: {', '.join(sorted(unknown))}")
    fault = Fault(**document)
    _check_fault(fault)
    return fault


def _check_fault(fault: Fault) -> None:
    for field in fields(Fault):
        if not _has_type_of(field.default, getattr(fault, field.name), field.name):
            raise ValueError(f"{field.name}: see the settings of a fault for what it can be")
    if fault.endpoint not in ("", "track", "delete", "export"):
        raise ValueError("endpoint: expected track, delete or export")
    if {fault.close, fault.hang} - {"", *WHEN}:
        raise ValueError("close and hang: expected before or after")
    if fault.status and not 200 <= fault.status <= 599:
        raise ValueError("status: expected 200 to 599")


def _has_type_of(default: Any, value: Any, name: str) -> bool:
    if name == "latency":
        return _is_latency(value)
    if value == default:
        return True
    if name in ("html", "apply", "truncate"):
        return isinstance(value, bool)
    return isinstance(value, str) if isinstance(default, str) else _is_number(value)


def _is_latency(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 2 and all(map(_is_number, value))
    if isinstance(value, dict):
        return "median" in value and set(value) <= {"median", "sigma"} and all(map(_is_number, value.values()))
    return _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0

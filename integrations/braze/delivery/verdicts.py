"""Translates Braze's answers into verdicts. The code that acts on a verdict knows no status codes. Pure."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from typing import Any

import orjson

from integrations.braze.delivery.client import Answer
from integrations.braze.models import Outcome
from integrations.braze.models.ledger import ARRAYS, MAX_WORDS

#: Longer waits that Braze asks for are cut to this: hourly limits reset on the clock hour.
LONGEST_WAIT_SECONDS = 3_600.0
DEFAULT_WAIT_SECONDS = 3.0


class ObjectFate(StrEnum):
    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    RETRY = "retry"


class Traffic(StrEnum):
    """What an answer means for the account's further requests."""

    GO_ON = "go on"
    AS_BEFORE = "as before"
    BACK_OFF = "back off"
    WAIT = "wait"
    PAUSE = "pause"
    SPLIT = "split"
    COMBINE = "combine"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means. An object's fate is in `fates` by (array, index as sent), else `by_array`, else
    `otherwise`.

    `words` are Braze's, with the key redacted; `reasons` say why objects were rejected.
    """

    outcome: Outcome
    otherwise: ObjectFate
    traffic: Traffic
    words: str = ""
    wait_seconds: float = 0.0
    fates: dict[tuple[str, int], ObjectFate] = field(default_factory=dict)
    by_array: dict[str, ObjectFate] = field(default_factory=dict)
    reasons: dict[tuple[str, int], str] = field(default_factory=dict)
    processed: dict[str, int] = field(default_factory=dict)  #: by array, what Braze says it took

    def fate(self, array: str, index: int) -> ObjectFate:
        return self.fates.get((array, index), self.by_array.get(array, self.otherwise))


#: Status → (outcome, fate of every object, what it means for the account) [Braze: Errors; API limits].
BY_STATUS: dict[int, tuple[Outcome, ObjectFate, Traffic]] = {
    408: (Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.BACK_OFF),
    429: (Outcome.RETRY, ObjectFate.RETRY, Traffic.WAIT),
    500: (Outcome.RETRY, ObjectFate.RETRY, Traffic.BACK_OFF),
    502: (Outcome.RETRY, ObjectFate.RETRY, Traffic.BACK_OFF),
    503: (Outcome.RETRY, ObjectFate.RETRY, Traffic.BACK_OFF),
    504: (Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.BACK_OFF),
}
#: Refused as a whole, for a cause that a person has to remove. Nothing is dropped meanwhile.
REFUSED = (Outcome.REFUSED, ObjectFate.RETRY, Traffic.PAUSE)
#: Refused as a whole, but perhaps because of one object: the request is bisected until the culprit stands alone.
REFUSED_FOR_AN_OBJECT = frozenset({400, 413})
#: Braze's words for more objects in a request than the contract allows [Braze: Errors].
TOO_MANY = "Max Input Length Exceeded"
HINTS = {
    401: "(the key is wrong, belongs to another instance or workspace, or was deleted: check key and endpoint)",
    403: "(the key lacks the permissions users.track and users.delete, or the plan does not allow the call)",
    404: "(the endpoint is not Braze's REST endpoint of this workspace)",
}
#: Any other 5xx, and what is no final answer (1xx): the request may have gone through.
BROKEN = (Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.BACK_OFF)


def of_answer(answer: Answer, api_key: str) -> Verdict:
    """The verdict on an answer; `api_key` is redacted from its words."""
    text = _redacted(answer.body, api_key)
    body, words = _parsed(text), _storable(text.decode("utf-8", "replace"))
    if 200 <= answer.status < 300:
        return _of_success(body, words)
    errors = _errors(body)
    if answer.status == 400 and (named := _named(errors)):
        return _partial(ObjectFate.RETRY, errors, named, words)
    if answer.status in REFUSED_FOR_AN_OBJECT:
        is_too_many = isinstance(body, dict) and TOO_MANY in str(body.get("message"))
        traffic = Traffic.COMBINE if is_too_many else Traffic.SPLIT
        return Verdict(
            Outcome.REFUSED, ObjectFate.RETRY, traffic, f"Braze answered {answer.status}: {_said(body, words)}"
        )
    outcome, fate, traffic = BY_STATUS.get(answer.status, REFUSED if 300 <= answer.status < 500 else BROKEN)
    if traffic == Traffic.PAUSE:
        words = f"Braze answered {answer.status}: {_said(body, words)} {HINTS.get(answer.status, '')}".strip()
    wait = retry_after(answer.headers, time.time()) if traffic == Traffic.WAIT else 0.0
    return Verdict(outcome, fate, traffic, words, wait)


def not_sent(words: str) -> Verdict:
    return Verdict(Outcome.RETRY, ObjectFate.RETRY, Traffic.BACK_OFF, words)


def no_answer(words: str) -> Verdict:
    return Verdict(Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.BACK_OFF, words)


def silent() -> Verdict:
    """For a request whose sender never settled it: that says nothing about Braze."""
    return Verdict(
        Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.AS_BEFORE, "The sender stopped before it had an answer."
    )


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds to wait, from Braze's headers: there are two styles, and any of them may be missing, empty or absurd.

    `Retry-After` may also be a date, as HTTP has it, if something between Braze and us sends it. A point in time is
    counted from the answer's own date, by Braze's clock, since `now`, this machine's, may be wrong.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    now = _moment(lower.get("date", "")) or now
    for name in ("x-ratelimit-retry-after", "retry-after", "x-ratelimit-reset"):
        told = _number(lower.get(name, "")) or _moment(lower.get(name, "")) or 0.0
        seconds = told - now if told > 1e9 else told
        if seconds > 0 and isfinite(seconds):
            return min(seconds, LONGEST_WAIT_SECONDS)
    return DEFAULT_WAIT_SECONDS


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def miscounted(verdict: Verdict, sent: Mapping[str, int]) -> str:
    """In words, how Braze's counts and errors do not add up to the objects sent; "" if they do.

    A cross-check, not a verdict: Braze may leave the counts out, and counts customers rather than attribute objects.
    """
    refused = Counter(array for array, _ in verdict.reasons)
    wrong = [
        f"Braze counted {processed:,} {array} and {refused[array]:,} errors of {sent[array]:,} sent."
        for array, processed in verdict.processed.items()
        if processed + refused[array] != sent[array]
    ]
    return " ".join(wrong)


def _of_success(body: Any, words: str) -> Verdict:
    return replace(_judged_success(body, words), processed=_processed(body))


def _processed(body: Any) -> dict[str, int]:
    """By array, what Braze says it took; only integers count. A deletion's answer uses another name."""
    told = body if isinstance(body, dict) else {}
    counts = {array: told.get(f"{array}_processed") for array in ARRAYS} | {"deletions": told.get("deleted")}
    return {array: count for array, count in counts.items() if type(count) is int}


def _judged_success(body: Any, words: str) -> Verdict:
    """A 2xx whose body does not say success is not one: it may be a proxy's, or cut off."""
    errors = _errors(body)
    named = _named(errors)
    if not _says_success(body):
        if named:
            return _partial(ObjectFate.UNKNOWN, errors, named, words)
        return Verdict(Outcome.UNKNOWN, ObjectFate.UNKNOWN, Traffic.BACK_OFF, words)
    if errors:
        return _partial(ObjectFate.DELIVERED, errors, named, words)
    return Verdict(Outcome.ACCEPTED, ObjectFate.DELIVERED, Traffic.GO_ON, words)


def _says_success(body: Any) -> bool:
    """`queued` is an answer during maintenance; for a deletion, the documentation shows the count alone."""
    if not isinstance(body, dict):
        return False
    return body.get("message", "success" if "deleted" in body else None) in ("success", "queued")


def _partial(otherwise: ObjectFate, errors: list[Any], named: dict[tuple[str, int], str], words: str) -> Verdict:
    """Named objects are rejected. An error that names none leaves its array, or all of them, unknown."""
    nameless = [error for error in errors if _place(error) is None]
    arrays = {array for error in nameless for array in _arrays(error)}
    return Verdict(
        Outcome.PARTIAL,
        otherwise,
        Traffic.BACK_OFF if nameless else Traffic.GO_ON,  # what is unknown may be sent again, but not at once
        words,
        fates=dict.fromkeys(named, ObjectFate.REJECTED),
        by_array=dict.fromkeys(arrays, ObjectFate.UNKNOWN),
        reasons=named,
    )


def _arrays(error: Any) -> tuple[str, ...]:
    array = error.get("input_array") if isinstance(error, dict) else None
    return (array,) if array in ARRAYS else ARRAYS


def _named(errors: list[Any]) -> dict[tuple[str, int], str]:
    return {
        place: _storable(str(error.get("type", "refused"))) for error in errors if (place := _place(error)) is not None
    }


def _place(error: Any) -> tuple[str, int] | None:
    """Array and index: the index counts inside its own array, as sent [Braze, measured 2026-09]."""
    if not isinstance(error, dict):
        return None
    array, index = error.get("input_array"), error.get("index")
    return (array, index) if array in ARRAYS and type(index) is int and index >= 0 else None


def _errors(body: Any) -> list[Any]:
    """Braze's list of errors. Anything else under that name counts as one error that names no object."""
    errors = body.get("errors") if isinstance(body, dict) else None
    return errors if isinstance(errors, list) else [errors] if errors else []


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _said(body: Any, words: str) -> str:
    """A body that is nothing but a message, without the JSON around it; else `words`."""
    is_message = isinstance(body, dict) and body.keys() == {"message"} and isinstance(body["message"], str)
    return _storable(body["message"]) if is_message else words


def _redacted(body: bytes, api_key: str) -> bytes:
    """The body of a 401 repeats the API key [Braze, measured]."""
    return body.replace(api_key.encode(), b"[key]") if api_key else body


def _storable(words: str) -> str:
    """Without NUL, which PostgreSQL's text cannot hold, and no longer than anybody reads."""
    return words.replace("\x00", "")[:MAX_WORDS]

"""Asks Braze what it holds of one customer: `POST /users/export/ids` [Braze: Users by identifier].

For a person who wants to know whether something arrived. It changes nothing, here or in Braze.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import redis

from integrations.braze.delivery import client, limiter, readiness, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.delivery.limiter import Limit
from integrations.braze.models import BrazeSettings

PATH = "/users/export/ids"
#: Braze: 250 requests a minute for accounts since August 2024, more for older ones [Braze: API limits].
CALLS, WINDOW_SECONDS = 250, 60
#: From connecting to the last byte: a person waits, and so does a thread of the web server.
TOTAL_SECONDS = 10.0
STANDARD = ("email", "phone", "first_name", "last_name", "gender", "dob", "country", "home_city", "language",
            "time_zone")  # fmt: skip
FIELDS = ("external_id", "custom_attributes", "custom_events", "purchases", "total_revenue", *STANDARD)
#: 401 and 404 mean the same here as elsewhere.
HINTS = verdicts.HINTS | {
    403: "(the key lacks the permission users.export.ids; a key's permissions cannot be changed, so make a new key)",
    429: "(too many questions in a minute: try again a little later)",
}


class NotAnswered(Exception):
    """Why there is no answer from Braze, in words for an operator; they never contain the key."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often Braze has counted an event or a product, and when last; a quantity of 3 counts as 3 purchases."""

    name: str
    count: int
    last: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What Braze holds of a customer. `revenue` is in US dollars, as converted by Braze."""

    is_known: bool
    revenue: str = ""
    events: list[Tally] = field(default_factory=list)
    purchases: list[Tally] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


def ask(settings: BrazeSettings, external_id: str) -> Exported:
    """What Braze holds of the customer. Takes at most `TOTAL_SECONDS`, and a second for its slot.

    Raises `NotAnswered`.
    """
    if (ready := readiness.judge(settings, None)).state == "disabled":
        raise NotAnswered("The integration is switched off, so Braze is not asked anything.")
    if not ready.is_ready:
        raise NotAnswered(f"Braze cannot be asked: {ready.detail}")
    limit = limit_of(settings)
    try:
        _wait_for_slot(limit)
        answer = _post(settings, {"external_ids": [external_id], "fields_to_export": FIELDS})
        if answer.status == 429:
            limiter.defer(limit, verdicts.retry_after(answer.headers, time.time()))
    except redis.RedisError as error:
        raise NotAnswered("Redis, which keeps count of the requests to Braze, cannot be reached.") from error
    return _exported(_document(answer, settings.api_key), external_id)


def limit_of(settings: BrazeSettings) -> Limit:
    """A separate budget per host and key: questions take nothing from what syncs may use."""
    return Limit(limiter.budget_of(settings, "export"), CALLS, WINDOW_SECONDS)


def _wait_for_slot(limit: Limit) -> None:
    slot = limiter.reserve(limit, lambda: 0)
    if not slot.is_granted:
        raise NotAnswered(f"Braze answers {CALLS} such questions a minute: ask again in {slot.wait_seconds:.0f} s.")
    time.sleep(slot.wait_seconds)


def _post(settings: BrazeSettings, document: dict[str, Any]) -> Answer:
    try:
        return client.post_to(settings.rest_endpoint, PATH, settings.api_key, orjson.dumps(document), TOTAL_SECONDS)
    except (client.NotSent, client.NoAnswer) as error:
        words = f"Braze ({settings.rest_endpoint}) could not be reached, or did not answer within {TOTAL_SECONDS:.0f} s"
        raise NotAnswered(f"{words}. {error}") from error


# --- the answer -----------------------------------------------------------------------------------------


def _document(answer: Answer, api_key: str) -> dict[str, Any]:
    """The answer's JSON, without the API key, which the body of a 401 repeats [Braze, measured].

    Raises `NotAnswered`.
    """
    text = answer.body.replace(api_key.encode(), b"[key]").decode("utf-8", "replace")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    if not 200 <= answer.status < 300:
        said = document.get("message") if isinstance(document, dict) else text
        words = f"Braze answered {answer.status}: {str(said)[:500]} {HINTS.get(answer.status, '')}"
        raise NotAnswered(words.strip())
    if not isinstance(document, dict) or not isinstance(document.get("users"), list):
        raise NotAnswered(f"Braze's answer is not one to this question: {text[:500]}")
    return document


def _exported(document: dict[str, Any], external_id: str) -> Exported:
    users = [user for user in document["users"] if isinstance(user, dict)]
    user = next((user for user in users if user.get("external_id") == external_id), None)
    if user is None:
        return Exported(is_known=False)
    standard = {name: user[name] for name in STANDARD if user.get(name) is not None}
    custom = user.get("custom_attributes")
    return Exported(
        is_known=True,
        revenue=str(user.get("total_revenue", 0)),
        events=_tallies(user.get("custom_events")),
        purchases=_tallies(user.get("purchases")),
        attributes={**standard, **(custom if isinstance(custom, dict) else {})},
    )


def _tallies(listed: Any) -> list[Tally]:
    """Newest first. Braze leaves out empty lists; what is no count is 0."""
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    counted = [(row, row.get("count")) for row in rows]
    tallies = [
        Tally(str(row.get("name", "")), count if type(count) is int else 0, str(row.get("last", "")))
        for row, count in counted
    ]
    return sorted(tallies, key=lambda tally: tally.last, reverse=True)

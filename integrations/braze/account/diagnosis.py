"""Tests a connection with three requests that create nothing in Braze, and says in words what the answers mean.

Braze checks the key before the request itself. So a 400 to an empty track or an empty deletion proves that the key has
the permission [Braze: errors]. The export asks for one id.
"""

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import redis
from django.conf import settings as django_settings

from integrations.braze.delivery import client, export, limiter, readiness
from integrations.braze.delivery.client import Answer, NoAnswer, NotSent
from integrations.braze.models import BrazeSettings, Endpoint, endpoints

#: For each request, from connecting to the last byte: a person is waiting.
TOTAL_SECONDS = 10.0
#: For each of the other instances that may know a refused key; they are asked side by side.
ELSEWHERE_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that creates nothing. `allows` says in words what its permission allows."""

    permission: str
    path: str
    body: bytes
    budget: str
    allows: str


TRACK = Probe(
    "users.track",
    "/users/track",
    b'{"attributes": [], "events": [], "purchases": []}',
    Endpoint.TRACK,
    "send customers, tags, events, purchases and audiences",
)
DELETE = Probe("users.delete", "/users/delete", b'{"external_ids": []}', Endpoint.DELETE, "delete customers")
EXPORT = Probe(
    "users.export.ids",
    "/users/export/ids",
    b'{"external_ids": ["masivo-connection-test"], "fields_to_export": ["external_id"]}',
    "export",
    "ask Braze what it holds",
)
PROBES = (TRACK, DELETE, EXPORT)


@dataclass(frozen=True, slots=True)
class Finding:
    """One result; `level` is "success", "warning" or "error"."""

    level: str
    words: str


def diagnose(settings: BrazeSettings) -> list[Finding]:
    """What the settings can and cannot do at Braze. The key appears in none of the words."""
    if missing := settings.missing() or readiness.forbidden(settings.rest_endpoint):
        return [Finding("error", f"Nothing was tried: {missing}")]
    try:
        for probe in PROBES:
            if not _has_slot(settings, probe):
                return [Finding("warning", "Nothing was tried: the limit of requests to Braze is used up right now.")]
    except redis.RedisError:
        return [Finding("error", "Nothing was tried: Redis, which keeps count of the requests, cannot be reached.")]
    return list(_read(settings, _ask(settings)))


def _has_slot(settings: BrazeSettings, probe: Probe) -> bool:
    """Wait for a slot of the rate limit, hourly limit included; False if none is near. Raises `redis.RedisError`."""
    limit = export.limit_of(settings) if probe is EXPORT else limiter.limit_of(settings, probe.budget)
    moments = limiter.acquire(limit, partial(limiter.calls_this_hour, settings, probe.budget))
    if moments:
        time.sleep(max(moments[0] - time.monotonic(), 0))
    return bool(moments)


# --- asked ----------------------------------------------------------------------------------------------


def _ask(settings: BrazeSettings) -> dict[Probe, Answer | NotSent | NoAnswer]:
    """At the same time, so that a slow Braze is waited for only once."""
    ask = partial(_answer, settings.rest_endpoint, settings.api_key, seconds=TOTAL_SECONDS)
    with ThreadPoolExecutor(len(PROBES)) as pool:
        return dict(zip(PROBES, pool.map(ask, PROBES), strict=True))


def _answer(base_url: str, api_key: str, probe: Probe, seconds: float) -> Answer | NotSent | NoAnswer:
    try:
        answer = client.post_to(base_url, probe.path, api_key, probe.body, seconds)
    except (NotSent, NoAnswer) as error:
        return error
    # Here, before the words are cut, which could leave a part of the key.
    return replace(answer, body=answer.body.replace(api_key.encode(), b"[key]"))


def _instance_that_knows(settings: BrazeSettings) -> str:
    """Another instance that accepts the key, among those that keys may be sent to; "" if there is none."""
    others = [url for url in _allowed() if url != settings.rest_endpoint]
    if not others:
        return ""
    with ThreadPoolExecutor(len(others)) as pool:
        ask = partial(_answer, api_key=settings.api_key, probe=TRACK, seconds=ELSEWHERE_SECONDS)
        answers = dict(zip(others, pool.map(ask, others), strict=True))
    return next((url for url, answer in answers.items() if isinstance(answer, Answer) and _accepts_key(answer)), "")


def _allowed() -> Iterable[str]:
    real = [each.url for each in endpoints.INSTANCES] if django_settings.BRAZE_ALLOW_REAL_HOSTS else []
    return [*real, *sorted(endpoints.extra_endpoints())]


def _accepts_key(answer: Answer) -> bool:
    """Whether Braze went on to check the request itself: it then knows the key."""
    return answer.status == 400 or 200 <= answer.status < 300


# --- read -----------------------------------------------------------------------------------------------


def _read(settings: BrazeSettings, answers: dict[Probe, Answer | NotSent | NoAnswer]) -> Iterable[Finding]:
    """One finding if the answers agree in something, else one for each permission."""
    host = endpoints.in_words(settings.rest_endpoint)
    if any(isinstance(answer, NotSent) for answer in answers.values()):
        return [Finding("error", f"{host} cannot be reached: no connection could be made. Is the address right?")]
    if all(isinstance(answer, NoAnswer) for answer in answers.values()):
        return [Finding("error", f"Time-out: {host} was reached, but gave no answer within {TOTAL_SECONDS:.0f} s.")]
    statuses = {answer.status for answer in answers.values() if isinstance(answer, Answer)}
    if statuses == {401}:
        return [_unknown_key(settings, host)]
    if statuses == {404}:
        return [Finding("error", f"{host} answers, but not as Braze's REST API does (404). {endpoints.WHERE}")]
    return _by_permission(answers, host)


def _unknown_key(settings: BrazeSettings, host: str) -> Finding:
    if knows := _instance_that_knows(settings):
        right = endpoints.in_words(knows)
        return Finding("error", f"The key is right, but the instance is not: {right} knows it, and {host} does not.")
    return Finding("error", f"Wrong key: {host} does not know it. Paste it again, or make a new one in Braze.")


def _by_permission(answers: dict[Probe, Answer | NotSent | NoAnswer], host: str) -> Iterable[Finding]:
    found = [_of_permission(probe, answer) for probe, answer in answers.items()]
    if all(each.level == "success" for each in found):
        may = "; ".join(probe.allows for probe in answers)
        return [Finding("success", f"Connected to {host}. The key is valid and may {may}.")]
    known = any(isinstance(answer, Answer) and _accepts_key(answer) for answer in answers.values())
    return [Finding("success", f"The key is valid at {host}.")] * known + found


def _of_permission(probe: Probe, answer: Answer | NotSent | NoAnswer) -> Finding:
    """What one answer says about its permission."""
    if not isinstance(answer, Answer):
        return Finding("error", f"{probe.permission}: no answer within {TOTAL_SECONDS:.0f} s.")
    if _accepts_key(answer):
        return Finding("success", f"{probe.permission}: the key may {probe.allows}.")
    if answer.status in (401, 403):
        # Newer documents of Braze's have 401 for a missing permission, older ones 403.
        words = f"Missing permission {probe.permission}: the key may not {probe.allows}. A key's permissions cannot be "
        return Finding("error", f"{words}changed in Braze: make a new key that has it.")
    if answer.status == 429:
        return Finding("warning", f"{probe.permission}: Braze's limit of requests is used up; try again later.")
    return Finding("error", f"{probe.permission}: Braze answered {answer.status}. {_said(answer)}".strip())


def _said(answer: Answer) -> str:
    """Braze's own words, if there are any, cut short: an unexpected answer may be anything."""
    try:
        said = json.loads(answer.body)["message"]
    except (ValueError, TypeError, LookupError):
        return ""
    return f"Its words: {str(said)[:200]}"

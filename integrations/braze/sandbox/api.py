"""The Braze endpoints: what stands before every request (key, limits, content type, size) and where it goes then."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from integrations.braze.sandbox.delete import delete
from integrations.braze.sandbox.distortion import distort
from integrations.braze.sandbox.export import export
from integrations.braze.sandbox.faults import Faults
from integrations.braze.sandbox.inflight import InFlight
from integrations.braze.sandbox.jsonbody import BadJson, parse_body
from integrations.braze.sandbox.keys import ApiKey, Keyring, bearer, redact
from integrations.braze.sandbox.limits import EMPTY_HEADERS, Limiter
from integrations.braze.sandbox.messages import JSON, Request, Response, json_response, message
from integrations.braze.sandbox.money import exact_prices
from integrations.braze.sandbox.object_rules import NotSimulated
from integrations.braze.sandbox.requestlog import LogEntry, RequestLog
from integrations.braze.sandbox.track import CHECKS, Judgement, judge
from integrations.braze.sandbox.workspace import Batch, Workspace

MAX_BODY_BYTES = 4 * 1024 * 1024
ENDPOINTS = {"/users/track": "track", "/users/delete": "delete", "/users/export/ids": "export"}
PERMISSIONS = {"track": "users.track", "delete": "users.delete", "export": "users.export.ids"}
SYNTAX = "Error while parsing request body. Please check your syntax."

Clock = Callable[[], float]


@dataclass(slots=True)
class Exchange:
    """One request on its way through; `held`: seconds a reorder fault keeps its effect back."""

    request: Request
    endpoint: str
    entry: LogEntry
    now: float
    held: float = 0.0


class BrazeApi:
    """Answers the three endpoints over one workspace."""

    def __init__(
        self, workspace: Workspace, keyring: Keyring, limiter: Limiter, faults: Faults, clock: Clock = time.time
    ) -> None:
        self.workspace = workspace
        self.limiter = limiter
        self.faults = faults
        self.clock = clock
        self.with_codes = False
        self.log = RequestLog()
        self.in_flight = InFlight()
        self._keyring = keyring

    def restart(self, workspace: Workspace, limiter: Limiter) -> None:
        """Go on with an empty workspace, nothing of any limit spent, and an empty log."""
        self.workspace, self.limiter, self.log, self.in_flight = workspace, limiter, RequestLog(), InFlight()

    def handle(self, request: Request) -> Response:
        """`request.path` is one of ENDPOINTS, with or without a trailing slash."""
        started = time.perf_counter()
        now = self.clock()
        self.workspace.advance(now)
        endpoint = ENDPOINTS[request.path.removesuffix("/")]
        exchange = Exchange(request, endpoint, self.log.begin(request.method, request.path, request.body, now), now)
        response = self._with_faults(exchange)
        self._account(exchange, response, started)
        return response

    def _with_faults(self, exchange: Exchange) -> Response:
        key = bearer(exchange.request.headers.get("authorization", "")) or ""
        picked = self.faults.pick(exchange.endpoint, key, exchange.request.body)
        if not picked:
            return self._answer(exchange)
        exchange.entry.fault = "; ".join(fault.name for fault, _ in picked)
        exchange.held = max(fault.reorder for fault, _ in picked)
        is_kept = any(fault.keeps_from_applying for fault, _ in picked)
        response = Response(201) if is_kept else self._answer(exchange)
        return distort(response, picked, key, self.limiter, exchange.now)

    def _answer(self, exchange: Exchange) -> Response:
        key = self._admit(exchange)
        if isinstance(key, Response):
            return key
        standing, limited = self.limiter.take(exchange.endpoint, key.value, exchange.now)
        if limited is not None:
            return limited
        response = self._refuse_body(exchange.request) or self._process(exchange, key)
        response.headers = self.limiter.headers(standing, exchange.now)
        return response

    def _admit(self, exchange: Exchange) -> ApiKey | Response:
        """The caller's key, or the refusal: 401 repeats the key and has empty rate-limit headers [8, 9.1, 1.6]."""
        header = exchange.request.headers.get("authorization", "")
        value = bearer(header)
        exchange.entry.key = redact(value or header)
        key = self._keyring.find(value) if value else None
        if key is None:
            response = message(401, f"Invalid API key: {header if value is None else value}")
            response.headers = dict(EMPTY_HEADERS)
            return response
        is_forbidden = exchange.request.path.endswith("/") or PERMISSIONS[exchange.endpoint] not in key.permissions
        return message(403, "Access Denied") if is_forbidden else key

    def _refuse_body(self, request: Request) -> Response | None:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            return message(415, "Unsupported Media Type")
        return message(413, "Request Entity Too Large") if len(request.body) > MAX_BODY_BYTES else None

    def _process(self, exchange: Exchange, key: ApiKey) -> Response:
        try:
            document = parse_body(exchange.request.body)
        except BadJson:
            return message(400, "Bad Request", error=SYNTAX)
        exchange.entry.counts = _count_lists(document)
        if exchange.endpoint == "track":
            return self._track(exchange, document, key)
        if exchange.endpoint == "export":
            return export(self.workspace, document, exchange.now)
        response = delete(self.workspace, document, exchange.entry.seq, exchange.now)
        if response.status == 201:
            response.users = set(document.get("external_ids") or ())
        return response

    def _track(self, exchange: Exchange, document: Any, key: ApiKey) -> Response:
        try:
            judgement = judge(document, key.contract, self.workspace.rules.blacklisted_users, self.with_codes)
        except NotSimulated as error:
            return message(400, f"Not simulated by this sandbox: {error}")
        exchange.entry.rejected = len(judgement.errors)
        self.workspace.totals.rejected += exchange.entry.rejected
        response = json_response(judgement.status, judgement.body())
        if judgement.status == 201:
            self._accept(exchange, _batch(exchange, document, judgement), response)
        return response

    def _accept(self, exchange: Exchange, batch: Batch, response: Response) -> None:
        if self.workspace.keep_profiles:
            response.users = batch.users()
        if exchange.held:
            self.workspace.hold(batch, exchange.now + exchange.held)
        else:
            self.workspace.accept(batch, exchange.now)

    def _account(self, exchange: Exchange, response: Response, started: float) -> None:
        totals, entry = self.workspace.totals, exchange.entry
        is_answered = response.manner in ("answer", "truncate")
        totals.requests[exchange.endpoint] += 1
        totals.statuses[str(response.status) if is_answered else response.manner] += 1
        totals.overlaps += self.in_flight.begin(response)
        entry.status = response.status if is_answered else 0
        entry.ms = round((time.perf_counter() - started + response.delay) * 1000, 2)
        # A 401 repeats the key; the log must not.
        entry.answer = "Invalid API key" if response.status == 401 else response.body[:500].decode("utf-8", "replace")


def _batch(exchange: Exchange, document: Any, judgement: Judgement) -> Batch:
    batch = Batch(exchange.entry.seq, *(judgement.accepted.get(name, []) for name in CHECKS))
    if batch.purchases:
        prices = exact_prices(exchange.request.body, document["purchases"])
        batch.prices = [prices[index] for index in judgement.accepted_indexes["purchases"]]
    return batch


def _count_lists(document: Any) -> dict[str, int]:
    items = document.items() if isinstance(document, dict) else ()
    return {name: len(value) for name, value in items if isinstance(value, list)}

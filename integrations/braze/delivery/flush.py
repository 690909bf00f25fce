"""The flush: ready requests leave, each started by one winner, within the rate limit, and are settled.

One thread per account claims, starts and settles, several requests in one statement; a few threads of its own only
wait for Braze. An account whose Braze hangs so holds up no thread but its own.
"""

import logging
import time
import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import redis
from django.db import InterfaceError, OperationalError, close_old_connections, transaction

from integrations.braze.delivery import (
    buffer,
    client,
    commits,
    lanes,
    ledger,
    limiter,
    readiness,
    settlement,
    shutdown,
    verdicts,
)
from integrations.braze.delivery.buffer import Claim
from integrations.braze.delivery.settlement import Answered
from integrations.braze.delivery.verdicts import Traffic, Verdict
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox import nudge
from integrations.outbox.prepared import Prepared

logger = logging.getLogger(__name__)

#: One task does one bounded slice.
SLICE_SECONDS = 5.0
#: How long a settlement is tried again while the database is away.
SETTLE_SECONDS, SETTLE_RETRY_SECONDS = 20.0, 0.5
#: How soon to look again for a slot; and whether more was asked for, while an answer is waited for.
LOOK_AGAIN_SECONDS = 0.05
#: How soon to look whether more is ready where nobody has asked: an account whose Braze hangs would else keep the
#: process busy with looking.
LOOK_UNASKED_SECONDS = 1.0
#: A request that is not answered for this long holds up its account's thread, which then goes on with others.
HELD_UP_SECONDS = 1.0
#: After an answer the next ones are waited for this long: settled together, they cost little more than one.
TOGETHER_SECONDS = 0.005


def due_accounts() -> list[int]:
    """Accounts with requests that nobody has started."""
    waiting = Delivery.objects.filter(started_at=None, finished_at=None)
    return list(waiting.order_by().values_list("account_id", flat=True).distinct())


def refill(account_id: int) -> int:
    """Push again what the ledger has and Redis has lost; returns how many requests are ready to be sent."""
    state = BrazeState.objects.filter(account_id=account_id).first()
    if state and not commits.has_lost_commits(state):
        commits.tell_redis(commits.counted(state))
    ids = ledger.next_to_send(account_id)
    if lost := buffer.missing(account_id, ids):
        buffer.push(account_id, Delivery.objects.filter(pk__among=lost).order_by("created_at"))
    return len(ids)


def settle_silent() -> None:
    """Requests whose sender never told how they ended have no known outcome."""
    for delivery_id in ledger.silent():
        try:
            settlement.settle(delivery_id, verdicts.silent())
        except Exception:  # one request that cannot be settled must not keep every other account's from it
            logger.exception("request %s could not be settled", delivery_id)


def flush(account_id: int, on_probation: bool | None = None) -> int:
    """Send ready requests of one account until none is left or the slice is over; how many were sent.

    Stops where the account turns out to be on probation, or not any more, and the caller's threads are not for that;
    None for a caller who takes either.
    """
    with ThreadPoolExecutor(buffer.IN_FLIGHT, thread_name_prefix=f"braze-{account_id}") as senders:
        return _Flush(account_id, on_probation, senders).run()


@dataclass(frozen=True, slots=True)
class Sending:
    """A request that was started: `until` is when its first byte has to be out."""

    id: UUID
    endpoint: str
    body: bytes
    settings: BrazeSettings
    slot: float
    until: float


#: What became of it; None where it could not leave in time, so that nobody has seen it.
Sent = tuple[Verdict, int | None] | None


@dataclass(slots=True)
class _Flush:
    account_id: int
    on_probation: bool | None
    senders: ThreadPoolExecutor
    flying: "dict[Future[Sent], Sending]" = field(default_factory=dict)
    sent: int = 0
    look_at: float = 0.0

    def run(self) -> int:
        """Whatever goes wrong, what is under way is settled first."""
        end, goes_on, problem = time.monotonic() + SLICE_SECONDS, True, None
        while goes_on or self.flying:
            try:
                may_launch = (time.monotonic() < end or self._is_held_up(end)) and not shutdown.has_begun()
                # What flies when the slice ends may turn out to be slow: then it goes on.
                goes_on = goes_on and (self._launch() if may_launch else bool(self.flying))
                self._land()
            except Exception as error:
                may_pass = isinstance(error, redis.RedisError) and bool(self.flying)
                goes_on = goes_on and may_pass
                if may_pass:  # this thread has to stay for an answer anyway, so it may as well try again
                    logger.warning("flush of account %s tries again: %s", self.account_id, type(error).__name__)
                    self.look_at = time.monotonic() + LOOK_UNASKED_SECONDS
                else:
                    problem = problem or error
        if problem:
            raise problem
        return self.sent

    def _launch(self) -> bool:
        """Claim, slot, start, hand over to a sender. False where there is no point in trying again soon."""
        if self.flying and not lanes.is_asked(self.account_id) and time.monotonic() < self.look_at:
            return True
        self.look_at = time.monotonic() + LOOK_UNASKED_SECONDS
        room = buffer.IN_FLIGHT - len(self.flying)
        ready = self._readiness() if room and not buffer.is_empty(self.account_id) else None
        if ready is None or ready.settings is None:
            return bool(self.flying)
        most = 1 if ready.on_probation else buffer.IN_FLIGHT
        claims = buffer.claim_some(self.account_id, room, most)
        waiting = self._start(claims, ready.settings) if claims else 0
        if waiting:
            self.look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return bool(self.flying) or len(claims) > waiting

    def _is_held_up(self, end: float) -> bool:
        """The slice is over and Braze is slow: this thread has to stay, so it may as well send what is ready.

        For what left within the slice: else a backlog that Braze is slow to take would never let go of the thread.
        """
        before = (sending.slot for sending in self.flying.values() if sending.slot < end)
        oldest = min(before, default=float("inf"))
        return time.monotonic() - oldest > HELD_UP_SECONDS

    def _readiness(self) -> readiness.Readiness | None:
        ready = readiness.of(self.account_id)
        if commits.has_lost_commits(ready.account_state):
            return None
        is_ours = self.on_probation in (None, ready.on_probation)
        return ready if ready.is_ready and is_ours else None

    def _start(self, claims: Sequence[Claim], settings: BrazeSettings) -> int:
        """Send those of the claimed that are ours; how many have to wait. Once started, nothing may hold them up."""
        known = _found(claims)
        slots = _slots(known, settings)
        waiting = [claim for claim in claims if claim.id in known and claim.id not in slots]
        buffer.unclaim(self.account_id, waiting)
        buffer.keep(self.account_id, *slots)
        until = time.monotonic() + ledger.SEND_WITHIN.total_seconds()
        for pk in self._start_all(slots, settings) if slots else ():
            sending = Sending(pk, *known[pk], settings, slots[pk], until)
            self.flying[self.senders.submit(_send, sending)] = sending
        ours = {sending.id for sending in self.flying.values()}
        self._let_go([claim.id for claim in claims if claim not in waiting and claim.id not in ours])
        return len(waiting)

    def _start_all(self, delivery_ids: Collection[UUID], settings: BrazeSettings) -> set[UUID]:
        """Redis is told of it before anything leaves: a ledger that is restored to an earlier state is then noticed."""
        with transaction.atomic():
            counted = commits.count_commit(self.account_id)
            won = ledger.start_all(delivery_ids)
            if not _UNCHANGED.rows(pk=settings.pk, updated_at=settings.updated_at):
                # Composed under newer settings than those at hand: the next tick sends it, where it has to go.
                transaction.set_rollback(True)
                return set()
        try:
            commits.tell_redis(counted)
        except redis.RedisError:
            for pk in won:
                ledger.give_back(pk)
            raise
        return won

    def _let_go(self, delivery_ids: Sequence[UUID]) -> None:
        """Dissolved, or started by somebody else, since Redis may repeat itself. Their claims run out by themselves."""
        with suppress(redis.RedisError):
            buffer.release(self.account_id, *delivery_ids)

    def _land(self) -> None:
        """Settle what has been answered, together; wait a little for that where nothing has been."""
        if not self.flying:
            return
        if not wait(self.flying, LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED).done:
            return
        landed = [(self.flying.pop(done), done.result()) for done in wait(self.flying, TOGETHER_SECONDS).done]
        self.look_at = 0.0  # there is room again
        answers = [Answered(sending.id, *sent) for sending, sent in landed if sent]
        self.sent += len(landed)
        try:
            _settle(self.account_id, answers)
            for late in [sending for sending, sent in landed if sent is None]:
                ledger.give_back(late.id)
                nudge.publish_soon(self.account_id)
        finally:
            self._let_go([sending.id for sending, _ in landed])
        for sending, sent in landed:
            if sent and sent[0].traffic == Traffic.WAIT:
                limiter.defer(limiter.limit_of(sending.settings, sending.endpoint), sent[0].wait_seconds)
        if any(answer.verdict.traffic in (Traffic.SPLIT, Traffic.COMBINE) for answer in answers):
            refill(self.account_id)


_UNCHANGED = Prepared(
    lambda pk, updated_at: BrazeSettings.objects.filter(pk=pk, updated_at=updated_at).values_list("pk")
)
_ENDPOINTS = Prepared(lambda ids: Delivery.objects.filter(pk__among=ids).values_list("pk", "endpoint"))


def _found(claims: Sequence[Claim]) -> dict[UUID, tuple[str, bytes]]:
    """Endpoint and compressed body of the claimed requests that the ledger has. Redis may have lost a body."""
    lost = [claim.id for claim in claims if not claim.body]
    endpoints: dict[UUID, str] = dict(_ENDPOINTS.rows(ids=[claim.id for claim in claims]))
    bodies = {claim.id: claim.body for claim in claims}
    rows = Delivery.objects.filter(pk__among=lost).values_list("pk", "body") if lost else ()
    bodies |= {pk: bytes(body) for pk, body in rows}
    return {pk: (endpoint, bodies[pk]) for pk, endpoint in endpoints.items()}


def _slots(known: dict[UUID, tuple[str, bytes]], settings: BrazeSettings) -> dict[UUID, float]:
    """When each request may go; those without a slot cannot go soon."""
    by_endpoint: dict[str, list[UUID]] = defaultdict(list)
    for pk, (endpoint, _) in known.items():
        by_endpoint[endpoint].append(pk)
    slots: dict[UUID, float] = {}
    for endpoint, ids in by_endpoint.items():
        limit = limiter.limit_of(settings, endpoint)
        moments = limiter.acquire(limit, partial(limiter.calls_this_hour, settings, endpoint), len(ids))
        slots |= zip(ids, moments, strict=False)
    return slots


def _send(sending: Sending) -> Sent:
    """In a thread of the account's own, without a database."""
    body = zlib.decompress(sending.body)
    time.sleep(max(sending.slot - time.monotonic(), 0.0))
    if time.monotonic() > sending.until:
        return None
    try:
        return _deliver(sending.settings, sending.endpoint, body)
    except Exception:  # not one the client knows of: whether anything was sent cannot be told
        logger.exception("request %s broke down", sending.id)
        return verdicts.silent(), None


def _settle(account_id: int, answers: Sequence[Answered]) -> None:
    """Braze's answers are in our hands only: a database that restarts must not turn them into unknown outcomes."""
    end = time.monotonic() + SETTLE_SECONDS
    while answers:
        try:
            settled = settlement.settle_all(account_id, answers)
        except (OperationalError, InterfaceError):
            if time.monotonic() > end:
                raise
            close_old_connections()
            time.sleep(SETTLE_RETRY_SECONDS)
            continue
        except Exception:
            if len(answers) == 1:
                raise
            _settle_each(account_id, answers)
            return
        for answer in answers:
            if answer.delivery_id not in settled:
                logger.warning("request %s was settled before its answer: %s", answer.delivery_id, answer.verdict.words)
        return


def _settle_each(account_id: int, answers: Sequence[Answered]) -> None:
    """One that cannot be settled must not keep the others from it; it stays open, and its outcome becomes unknown."""
    for answer in answers:
        try:
            _settle(account_id, [answer])
        except Exception:
            logger.exception("request %s could not be settled", answer.delivery_id)


def _deliver(settings: BrazeSettings, endpoint: str, body: bytes) -> tuple[Verdict, int | None]:
    try:
        answer = client.post(settings.rest_endpoint, endpoint, settings.api_key, body)
    except client.NotSent as error:
        return verdicts.not_sent(str(error)), None
    except client.NoAnswer as error:
        return verdicts.no_answer(str(error)), None
    return verdicts.of_answer(answer, settings.api_key), answer.status

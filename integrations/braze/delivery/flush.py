"""The flush: sends ready requests within the rate limit, each started by one sender, and settles them.

One thread per account claims, starts and settles, several requests per statement; a few threads of its own only wait
for Braze. While Braze takes its time, the former thread goes on with other accounts (`lanes.py`), so an account whose
Braze hangs holds up no other.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import inf
from uuid import UUID

import redis
from django.db import transaction

from integrations.braze.delivery import (
    buffer,
    commits,
    giving_way,
    insisting,
    lanes,
    ledger,
    limiter,
    readiness,
    sender,
    shutdown,
)
from integrations.braze.delivery.buffer import Claim
from integrations.braze.delivery.giving_way import NO_PAUSES, Pauses
from integrations.braze.delivery.sender import Sending, Sent
from integrations.braze.delivery.settlement import Answered
from integrations.braze.delivery.verdicts import Traffic
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox import nudge
from integrations.outbox.prepared import Prepared

logger = logging.getLogger(__name__)

Work = Generator[lanes.Waits, None, int]
Steps = Generator[lanes.Waits, None, None]

#: One task does one bounded slice.
SLICE_SECONDS = 5.0
#: How soon to look for a slot again, and, while waiting for an answer, whether a nudge has come.
LOOK_AGAIN_SECONDS = 0.05
#: How soon to look for more ready requests without a nudge: an account whose Braze hangs would otherwise keep the
#: process busy with looking.
LOOK_UNASKED_SECONDS = 1.0
#: A request unanswered for this long holds up its account's thread, which then goes on sending beyond its slice.
HELD_UP_SECONDS = 1.0
#: After this long without an answer, the thread is offered to others. Shorter, and each request would need two threads.
SLOW_SECONDS = 0.2
#: After an answer, wait this long for more: settling several together costs little more than settling one.
TOGETHER_SECONDS = 0.005


def due_accounts() -> list[int]:
    """Ids of accounts with requests that have not been started."""
    waiting = Delivery.objects.filter(started_at=None, finished_at=None)
    return list(waiting.order_by().values_list("account_id", flat=True).distinct())


def refill(account_id: int) -> int:
    """Push again what Redis has lost of the ledger; returns how many requests are ready. Raises `redis.RedisError`."""
    state = BrazeState.objects.filter(account_id=account_id).first()
    if state and not commits.has_lost_commits(state):
        commits.tell_redis(commits.counted(state))
    ids = ledger.next_to_send(account_id)
    if lost := buffer.missing(account_id, ids):
        buffer.push(account_id, Delivery.objects.filter(pk__among=lost).order_by("created_at"))
    return len(ids)


def flush(account_id: int, on_probation: bool | None = None, gives_way: bool = False) -> int:
    """Send ready requests of one account until none is left or the slice is over; returns how many it dealt with.

    Stops if the account is on probation and `on_probation` is False, or the reverse: other threads are for that then.
    With None, either is sent. `gives_way`: pause after each settlement, if other accounts need the machine.
    """
    work = flushing(account_id, on_probation, gives_way)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return int(end.value)


def flushing(account_id: int, on_probation: bool | None = None, gives_way: bool = False) -> Work:
    """The same, as work that any thread may continue whenever it yields."""
    with ThreadPoolExecutor(buffer.IN_FLIGHT, thread_name_prefix=f"braze-{account_id}") as senders:
        pauses = Pauses(account_id) if gives_way else NO_PAUSES
        pauses.look_around()
        return (yield from _Flush(account_id, on_probation, senders, pauses).run())


@dataclass(slots=True)
class _Flush:
    account_id: int
    on_probation: bool | None
    senders: ThreadPoolExecutor
    pauses: Pauses = NO_PAUSES
    in_flight: "dict[Future[Sent], Sending]" = field(default_factory=dict)
    ended: list[UUID] = field(default_factory=list)  #: those of them that are being settled
    mark: timedelta = field(default_factory=ledger.new_mark)  #: of what this flush starts
    unsent: list[UUID] = field(default_factory=list)  #: started, but they cannot leave: to be given back
    sent: int = 0
    look_at: float = 0.0
    answered_at: float = 0.0

    def run(self) -> Work:
        """Send until there is nothing more to do; returns how many it dealt with.

        If anything fails, what is in flight is settled before it is raised.
        """
        begun, goes_on, problem = time.monotonic(), True, None
        end = begun + SLICE_SECONDS
        while goes_on or self.in_flight or self.unsent:
            try:
                if self.unsent:
                    yield from self._give_back()
                may_send = (time.monotonic() < end or self._is_held_up(end)) and not shutdown.has_begun()
                # What is in flight when the slice ends may turn out to be slow: the thread then goes on sending.
                goes_on = goes_on and (self._send_ready() if may_send else bool(self.in_flight))
                if not (yield from self._settle_answered()) and self._out_for() > SLOW_SECONDS:
                    yield lanes.Waits(list(self.in_flight), goes_on)
            except Exception as error:
                may_pass = isinstance(error, redis.RedisError) and bool(self.in_flight)
                goes_on = goes_on and may_pass
                if may_pass:  # this thread has to wait for answers anyway, so it may as well try again
                    logger.warning("flush of account %s tries again: %s", self.account_id, type(error).__name__)
                    self.look_at = time.monotonic() + LOOK_UNASKED_SECONDS
                else:
                    problem = problem or error
        if problem:
            raise problem
        giving_way.done(self.account_id, begun)
        return self.sent

    def _send_ready(self) -> bool:
        """Claim, get slots, start, hand over to senders. False if there is no point in trying again soon."""
        if self.in_flight and not lanes.is_asked(self.account_id) and time.monotonic() < self.look_at:
            return True
        self.look_at = time.monotonic() + LOOK_UNASKED_SECONDS
        room = 0 if self._is_silent() and lanes.are_crowded() else buffer.IN_FLIGHT - len(self.in_flight)
        ready = self._readiness() if room and not buffer.is_empty(self.account_id) else None
        if ready is None or ready.settings is None:
            return bool(self.in_flight)
        most = 1 if ready.on_probation else buffer.IN_FLIGHT
        self.pauses.let_others_pass()
        claims = buffer.claim_some(self.account_id, room, most)
        waiting = self._start(claims, ready.settings) if claims else 0
        if waiting:
            self.look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return bool(self.in_flight) or len(claims) > waiting

    def _is_held_up(self, end: float) -> bool:
        """Whether a request from within the slice is still unanswered: the thread has to stay, so it may send more.

        Requests sent after the slice do not count, or a slow Braze and a backlog would keep the thread for ever.
        """
        return self._out_for(end) > HELD_UP_SECONDS

    def _is_silent(self) -> bool:
        """Whether Braze has answered nothing since the oldest request in flight left, which was a while ago."""
        silent_for = time.monotonic() - self.answered_at
        return HELD_UP_SECONDS < self._out_for() < silent_for

    def _out_for(self, before: float = inf) -> float:
        """For how many seconds the oldest of the requests in flight, of those that left before then, has been out."""
        left = (sending.slot for sending in self.in_flight.values() if sending.slot < before)
        return time.monotonic() - min(left, default=inf)

    def _readiness(self) -> readiness.Readiness | None:
        ready = readiness.of(self.account_id)
        if commits.has_lost_commits(ready.account_state):
            return None
        is_ours = self.on_probation in (None, ready.on_probation)
        return ready if ready.is_ready and is_ours else None

    def _start(self, claims: Sequence[Claim], settings: BrazeSettings) -> int:
        """Start the claimed requests that have a slot, and hand them to senders; returns how many have to wait.

        Between the start and the sender nothing may block: the time to get a request out is short.
        """
        waiting: list[Claim] = []
        try:
            known = _found(claims)
            slots = _slots(known, settings)
            waiting = [claim for claim in claims if claim.id in known and claim.id not in slots]
            buffer.unclaim(self.account_id, waiting)
            buffer.keep(self.account_id, *slots)
            begun = time.monotonic()
            until, leave_by = (begun + each.total_seconds() for each in (ledger.SEND_WITHIN, ledger.LEAVE_WITHIN))
            won = self._start_all(slots, settings) if slots else set()
            self._hand_over([Sending(pk, *known[pk], settings, slots[pk], until, leave_by) for pk in won])
        finally:
            ours = {*self.unsent, *(sending.id for sending in self.in_flight.values())}
            self._let_go([claim.id for claim in claims if claim not in waiting and claim.id not in ours])
        return len(waiting)

    def _start_all(self, delivery_ids: Collection[UUID], settings: BrazeSettings) -> set[UUID]:
        """Start requests in the ledger, then count the start in Redis, before any of them leaves.

        A ledger that is restored to an earlier state is noticed by that count. If Redis or the commit fails, the
        requests are to be given back, and the error is raised.
        """
        won: set[UUID] = set()
        try:
            with transaction.atomic():
                counted = commits.count_commit(self.account_id)
                won = ledger.start_all(delivery_ids, self.mark)
                if not _UNCHANGED.rows(pk=settings.pk, updated_at=settings.updated_at):
                    # Composed under newer settings than ours: the next tick sends them, under those.
                    transaction.set_rollback(True)
                    return set()
            commits.tell_redis(counted)
        except Exception:  # a connection that breaks at the commit does not tell whether it went through
            self.unsent += won
            raise
        return won

    def _hand_over(self, sendings: Sequence[Sending]) -> None:
        """Give each to a sender thread. If no thread can be started, those without one are to be given back."""
        for number, sending in enumerate(sendings):
            answer: Future[Sent] = Future()
            try:
                self.senders.submit(sender.run, answer, sending)
            except Exception:
                # It is queued all the same, so a sender that has become free may have taken it.
                if answer.cancel():
                    self.unsent += [left.id for left in sendings[number:]]
                    raise
            self.in_flight[answer] = sending

    def _give_back(self) -> Steps:
        """Undo the start of requests that have not left, and nudge a relay to compose them anew."""
        ids = list(self.unsent)
        try:
            yield from insisting.insist(partial(ledger.give_back, ids, self.mark), self._meanwhile)
        finally:
            self.unsent.clear()
            self._let_go(ids)
        nudge.publish_soon(self.account_id)

    def _meanwhile(self) -> Steps:
        """Before another attempt at what the database does not take: offer the thread to others for a while."""
        self._keep_claims()
        try:
            rest = self.senders.submit(time.sleep, insisting.RETRY_SECONDS)  # one of them is free, as nothing is sent
        except RuntimeError:  # no thread can be started
            time.sleep(insisting.RETRY_SECONDS)
            return
        yield lanes.Waits([rest], looks=False)
        wait([rest])  # for a thread that has to stay

    def _keep_claims(self) -> None:
        """Of all requests whose outcome this thread has yet to write: else another one would call them unknown."""
        with suppress(redis.RedisError):
            ours = {*self.ended, *self.unsent, *(sending.id for sending in self.in_flight.values())}
            buffer.keep(self.account_id, *ours)

    def _let_go(self, delivery_ids: Sequence[UUID]) -> None:
        """Release claims that are no longer ours to send. If Redis fails, they expire by themselves."""
        with suppress(redis.RedisError):
            buffer.release(self.account_id, *delivery_ids)

    def _settle_answered(self) -> Generator[lanes.Waits, None, bool]:
        """Settle together what has been answered; wait briefly for an answer if there is none yet. False: none came."""
        if not self.in_flight:
            return False
        if not wait(self.in_flight, LOOK_AGAIN_SECONDS, return_when=FIRST_COMPLETED).done:
            return False
        ended = [(self.in_flight.pop(done), done.result()) for done in wait(self.in_flight, TOGETHER_SECONDS).done]
        self.look_at, self.answered_at = 0.0, time.monotonic()  # there is room again
        self.pauses.begin()
        self.pauses.let_others_pass()
        answers = [Answered(sending.id, *sent) for sending, sent in ended if sent]
        self.unsent += [sending.id for sending, sent in ended if sent is None]
        self.ended = [answer.delivery_id for answer in answers]
        self.sent += len(ended)
        try:
            yield from insisting.settle(self.account_id, answers, self._meanwhile)
        finally:
            self._let_go(list(self.ended))
            self.ended.clear()
        for sending, sent in ended:
            if sent and sent[0].traffic == Traffic.WAIT:
                limiter.defer(limiter.limit_of(sending.settings, sending.endpoint), sent[0].wait_seconds)
        if any(answer.verdict.traffic in (Traffic.SPLIT, Traffic.COMBINE) for answer in answers):
            refill(self.account_id)
        if not shutdown.has_begun():
            self.pauses.look_around()
            self.pauses.rest()
        return True


_UNCHANGED = Prepared(
    lambda pk, updated_at: BrazeSettings.objects.filter(pk=pk, updated_at=updated_at).values_list("pk")
)
_ENDPOINTS = Prepared(
    lambda ids: Delivery.objects.filter(pk__among=ids, started_at=None, finished_at=None).values_list("pk", "endpoint")
)


def _found(claims: Sequence[Claim]) -> dict[UUID, tuple[str, bytes]]:
    """Endpoint and compressed body of the claimed requests that are still to be started, by the ledger.

    Others (taken back since, or repeated by Redis) must not use up slots. Bodies that Redis lost come from the ledger.
    """
    lost = [claim.id for claim in claims if not claim.body]
    endpoints: dict[UUID, str] = dict(_ENDPOINTS.rows(ids=[claim.id for claim in claims]))
    bodies = {claim.id: claim.body for claim in claims}
    rows = Delivery.objects.filter(pk__among=lost).values_list("pk", "body") if lost else ()
    bodies |= {pk: bytes(body) for pk, body in rows}
    return {pk: (endpoint, bodies[pk]) for pk, endpoint in endpoints.items()}


def _slots(known: dict[UUID, tuple[str, bytes]], settings: BrazeSettings) -> dict[UUID, float]:
    """When each request may leave, on `time.monotonic`; those that cannot leave soon are missing."""
    by_endpoint: dict[str, list[UUID]] = defaultdict(list)
    for pk, (endpoint, _) in known.items():
        by_endpoint[endpoint].append(pk)
    slots: dict[UUID, float] = {}
    for endpoint, ids in by_endpoint.items():
        limit = limiter.limit_of(settings, endpoint)
        moments = limiter.acquire(limit, partial(limiter.calls_this_hour, settings, endpoint), len(ids))
        slots |= zip(ids, moments, strict=False)
    return slots

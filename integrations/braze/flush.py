"""The flush: ready requests leave, each started by one winner, within the rate limit, and are settled."""

import logging
import time
import zlib
from datetime import timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, close_old_connections

from integrations.braze import buffer, client, ledger, limiter, readiness, restored, settlement, shutdown, verdicts
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.verdicts import Traffic, Verdict
from integrations.outbox.clock import database_now

logger = logging.getLogger(__name__)

#: One task does one bounded slice.
SLICE_SECONDS = 5.0
#: How long a settlement is tried again while the database is away.
SETTLE_SECONDS, SETTLE_RETRY_SECONDS = 20.0, 0.5


def due_accounts() -> list[int]:
    """Accounts with requests that nobody has started."""
    waiting = Delivery.objects.filter(started_at=None, finished_at=None)
    return list(waiting.order_by().values_list("account_id", flat=True).distinct())


def refill(account_id: int) -> int:
    """Push again what the ledger has and Redis has lost; returns how many requests are ready to be sent."""
    if not restored.has_lost_commits(account_id):
        restored.tell_redis(account_id)
    ids = ledger.next_to_send(account_id)
    if lost := buffer.missing(account_id, ids):
        buffer.push(account_id, Delivery.objects.filter(pk__in=lost).order_by("created_at"))
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
    sent, end = 0, time.monotonic() + SLICE_SECONDS
    while time.monotonic() < end and not shutdown.has_begun():
        is_sound = not restored.has_lost_commits(account_id)
        ready = readiness.of(account_id)
        if not is_sound or not ready.is_ready or ready.settings is None:
            break
        if on_probation not in (None, ready.on_probation):
            break
        claim = buffer.claim(account_id, 1 if ready.on_probation else buffer.IN_FLIGHT)
        if claim is None:
            break
        try:
            went = _send(claim, ready.settings)
        finally:
            buffer.release(account_id, claim.id)
        if not went:
            break
        sent += 1
    return sent


def _send(claim: buffer.Claim, settings: BrazeSettings) -> bool:
    """Slot, start, deliver, settle. False where no slot is to be had soon; the request then stays in the ledger."""
    delivery = Delivery.objects.filter(pk=claim.id).only("endpoint", "account_id").first()
    if delivery is None:
        return True
    limit = limiter.limit_of(settings, delivery.endpoint)
    if not limiter.acquire(limit, lambda: _calls_this_hour(settings, delivery.endpoint)):
        return False
    buffer.keep(delivery.account_id, claim.id)
    before_start = time.monotonic()
    if not ledger.start(claim.id):
        return True  # dissolved, or started by somebody else: Redis may repeat itself
    body = zlib.decompress(claim.body or bytes(Delivery.objects.values_list("body", flat=True).get(pk=claim.id)))
    if time.monotonic() - before_start > ledger.SEND_WITHIN.total_seconds():
        ledger.give_back(claim.id)
        return True
    verdict, status = _deliver(settings, delivery.endpoint, body)
    if verdict.traffic == Traffic.WAIT:
        limiter.defer(limit, verdict.wait_seconds)
    _settle(claim.id, verdict, status)
    if verdict.traffic in (Traffic.SPLIT, Traffic.COMBINE):
        refill(delivery.account_id)
    return True


def _settle(delivery_id: UUID, verdict: Verdict, status: int | None) -> None:
    """Braze's answer is in our hands only: a database that restarts must not turn it into an unknown outcome."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            if not settlement.settle(delivery_id, verdict, status):
                logger.warning("request %s was settled before its answer came: %s", delivery_id, verdict.words)
            return
        except (OperationalError, InterfaceError):
            if time.monotonic() > end:
                raise
            close_old_connections()
            time.sleep(SETTLE_RETRY_SECONDS)


def _deliver(settings: BrazeSettings, endpoint: str, body: bytes) -> tuple[Verdict, int | None]:
    try:
        answer = client.post(settings.rest_endpoint, endpoint, settings.api_key, body)
    except client.NotSent as error:
        return verdicts.not_sent(str(error)), None
    except client.NoAnswer as error:
        return verdicts.no_answer(str(error)), None
    return verdicts.of_answer(answer, settings.api_key), answer.status


def _calls_this_hour(settings: BrazeSettings, endpoint: str) -> int:
    """What the ledger knows of this clock hour, for a limiter that Redis has forgotten: of all who share the key."""
    now = database_now()
    hour = now - timedelta(minutes=now.minute, seconds=now.second, microseconds=now.microsecond)
    sharing = [each.account_id for each in (settings, *settings.sharing_key())]
    return Delivery.objects.filter(account_id__in=sharing, endpoint=endpoint, started_at__gte=hour).count()

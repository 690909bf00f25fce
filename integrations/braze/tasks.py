"""Celery's tasks. Their arguments are ids; every message is a hint that may be lost or repeated."""

import logging
import threading
from contextlib import suppress
from functools import partial

import redis
from billiard.process import current_process
from celery import shared_task
from kombu.exceptions import OperationalError

from integrations.braze.composing import relay as relaying
from integrations.braze.composing import waiting
from integrations.braze.delivery import buffer, commits, lanes, readiness, silent
from integrations.braze.delivery import flush as flushing
from integrations.braze.erasure import payloads, retention, scrubbing
from integrations.braze.integration import NAME
from integrations.braze.recovery import backfill as backfilling
from integrations.braze.reporting import notices
from integrations.outbox import nudge, oldest
from integrations.outbox.patience import no_time_limit
from integrations.outbox.ticks import one_at_a_time

logger = logging.getLogger(__name__)

#: Most flush tasks started for one account at a time: each in another process, if there are as many.
LANES = 4
#: Threads of a process that send mails at a time. If the mail server hangs, each waits for as long as that takes, and
#: the worker has accounts to probe as well.
MAILING = 2
_mailing = threading.BoundedSemaphore(MAILING)
#: How often backfills are looked for that nobody is at; until then, a message of one is waited for.
BACKFILL_TICK_SECONDS = 15


@shared_task
def relay(account_id: int) -> None:
    if relaying.relay(account_id, gives_way=True, most_rounds=1 if _is_kept_free() else None) and oldest.first_pending(
        account_id, NAME, parked=False
    ):
        nudge.publish_soon(account_id)


@shared_task
@one_at_a_time
def flush() -> None:
    """Every second: wake the senders of accounts with unstarted requests, and settle what went silent."""
    _wake_senders()
    silent.settle()


def _wake_senders() -> None:
    for account_id in flushing.due_accounts():
        try:
            wake_flush(account_id, flushing.refill(account_id), readiness.of(account_id).on_probation)
        except (redis.ConnectionError, redis.TimeoutError, OperationalError) as error:
            logger.warning("flush of account %s waits for Redis: %s", account_id, type(error).__name__)
            return
        except redis.RedisError as error:
            logger.warning("flush of account %s is refused by Redis: %s", account_id, error)
        except Exception:  # what goes wrong for one account must not keep the tick from the others
            logger.exception("senders of account %s could not be woken", account_id)


@shared_task
@one_at_a_time
def wake() -> None:
    """Every 15 seconds: wake what a clock that was set back would let wait for too long."""
    waiting.wake_dated_ahead()


@shared_task
def flush_account(account_id: int) -> None:
    _flush(account_id, on_probation=False)


@shared_task
def flush_backlog(account_id: int) -> None:
    """On a worker apart: what a backlog has to compute holds up no account that has little to send."""
    _flush(account_id, on_probation=False, gives_way=True)


@shared_task
def probe_account(account_id: int) -> None:
    """One request at a time, on a worker apart: an account whose Braze hangs holds up no other."""
    _flush(account_id, on_probation=True)


@shared_task
@one_at_a_time
@no_time_limit()
def purge() -> None:
    retention.purge()
    payloads.forget_old()


@shared_task
@one_at_a_time
def scrub() -> None:
    """Every 15 seconds: remove personal data of deleted customers."""
    scrubbing.work_off()


@shared_task
@one_at_a_time
def notify() -> None:
    """Every 15 seconds: find what members have to be told by mail, and send it."""
    for notice_id in notices.find_causes():
        tell.apply_async((notice_id,), expires=60)


@shared_task
@one_at_a_time
def notice_losses() -> None:
    """Every 15 seconds: find accounts whose database was restored from a backup."""
    commits.notice_losses()


@shared_task
def tell(notice_id: int) -> None:
    """Whoever finds too many threads at it leaves its notice to them: they go on with all that are due."""
    if not _mailing.acquire(blocking=False):
        return
    try:
        notices.send(notice_id)
        for another in notices.due():
            notices.send(another)
    finally:
        _mailing.release()


@shared_task
def backfill(account_id: int) -> None:
    """A slice of capturing everything the account has; the rest is another task's."""
    if backfilling.work_off(account_id):
        backfill.apply_async((account_id,), expires=BACKFILL_TICK_SECONDS)


@shared_task
@one_at_a_time
def backfills() -> None:
    """The periodic tick of backfills: those whose worker has gone, or whose message was lost, go on."""
    for account_id in backfilling.left_alone():
        backfill.apply_async((account_id,), expires=BACKFILL_TICK_SECONDS)


def _is_kept_free() -> bool:
    """Whether this is the first process of its worker, which no account has for long.

    With a backlog in each of them, all others would wait for the end of a slice.
    """
    return getattr(current_process(), "index", None) == 0


def _flush(account_id: int, on_probation: bool, gives_way: bool = False) -> None:
    work = partial(flushing.flushing, account_id, on_probation, gives_way)
    lanes.run(account_id, work, partial(_take_up_again, account_id))


def _take_up_again(account_id: int) -> None:
    with suppress(redis.RedisError, OperationalError):  # the next tick comes anyway
        wake_flush(account_id, 1, readiness.of(account_id).on_probation, has_backlog=True)


def wake_flush(account_id: int, requests: int, on_probation: bool, has_backlog: bool = False) -> None:
    """Start senders for this many requests; raises `kombu.exceptions.OperationalError` if the broker is down.

    `has_backlog`: more will follow at once. What cannot all be in flight at a time counts as a backlog, too.
    If the account's probation has begun or ended meanwhile, they send nothing, and the next tick starts the right ones.
    """
    if on_probation:
        probe_account.apply_async((account_id,), expires=2)
        return
    task = flush_backlog if has_backlog or requests > buffer.IN_FLIGHT else flush_account
    for _ in range(min(-(-requests // buffer.IN_FLIGHT), LANES)):
        task.apply_async((account_id,), expires=2)

"""What an answer means for the account's next requests: go on, wait, back off, bisect, or pause."""

import logging
import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from integrations.braze.delivery import ledger
from integrations.braze.delivery.fates import is_outdated, unclear_arrays
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.mapping.objects import MAX_PER_ARRAY
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import BatchLimit, PauseKind
from integrations.outbox.clock import database_now

logger = logging.getLogger(__name__)

BACKOFF_FIRST_SECONDS, BACKOFF_MOST_SECONDS = 0.5, 60.0


def after_refusal(delivery: Delivery, verdict: Verdict, settings: BrazeSettings, now: datetime) -> Verdict:
    """The verdict, corrected by what only the request and the account's current settings tell.

    May switch the account to 75 objects per request in all, in the caller's transaction.
    """
    if verdict.traffic == Traffic.GO_ON and unclear_arrays(delivery, verdict):
        return replace(verdict, traffic=Traffic.BACK_OFF)  # what is unknown may be sent again, but not at once
    if verdict.traffic == Traffic.PAUSE and is_outdated(delivery, settings, now):
        return replace(verdict, traffic=Traffic.AS_BEFORE)  # it says nothing about the current settings
    if verdict.traffic in (Traffic.SPLIT, Traffic.COMBINE) and is_outdated(delivery, settings, now):
        return replace(verdict, traffic=Traffic.GO_ON)  # composed under settings that have changed: compose it anew
    if verdict.traffic == Traffic.COMBINE:
        if delivery.size > MAX_PER_ARRAY and settings.batch_limit == BatchLimit.PER_ARRAY:
            logger.warning("account %s: Braze takes 75 objects a request in all; switched", settings.account_id)
            BrazeSettings.objects.filter(pk=settings.pk).update(batch_limit=BatchLimit.COMBINED)
            BrazeState.objects.filter(account_id=settings.account_id).update(combined_at=database_now())
            return replace(verdict, traffic=Traffic.GO_ON)
        verdict = replace(verdict, traffic=Traffic.SPLIT)
    if verdict.traffic == Traffic.SPLIT and delivery.size == 1:
        return replace(verdict, traffic=Traffic.GO_ON, otherwise=ObjectFate.REJECTED)
    return verdict


def steer(state: BrazeState, verdict: Verdict, started_at: datetime | None, now: datetime) -> None:
    """Write to the account's state what the verdict on a request of that start means for its next requests."""
    if verdict.traffic == Traffic.AS_BEFORE:
        return
    if verdict.traffic == Traffic.GO_ON:
        if state.failures:
            _end_probation(state, now)
    elif verdict.traffic == Traffic.WAIT:
        _wait(state, now, verdict.wait_seconds, last_error=verdict.words)
    elif verdict.traffic == Traffic.BACK_OFF:
        if _is_backed_off_from(state, started_at, now):
            return
        seconds = backoff_seconds(state.failures, random.random())  # noqa: S311
        _wait(state, now, seconds, failures=state.failures + 1, last_error=verdict.words)
    else:
        _pause(state, verdict, now)


def _end_probation(state: BrazeState, now: datetime) -> None:
    """But not the wait, if there is one: what went well left before it began, and Braze may have asked for it."""
    until = state.waits_until(now)
    is_waiting = until is not None and until > now
    _change(state, failures=0, **({} if is_waiting else {"backoff_until": None, "last_error": ""}))


def _is_backed_off_from(state: BrazeState, started_at: datetime | None, now: datetime) -> bool:
    """Whether the request left before the last backoff began, as nothing is started during one.

    It was in flight together with the one that failed first, and what one outage does to all of them is one failure.
    """
    until = state.waits_until(now)
    return bool(state.failures and until and started_at and started_at < until)


def _wait(state: BrazeState, now: datetime, seconds: float, **changes: Any) -> None:
    """A wait that Braze asked for is not over sooner because a request before it failed, or was told to wait less."""
    until = now + timedelta(seconds=seconds)
    _change(state, backoff_from=now, backoff_until=max(until, state.waits_until(now) or until), **changes)


def _change(state: BrazeState, **changes: Any) -> None:
    """Write only these fields, as others may have changed meanwhile; `state` is kept in line for the next answer."""
    BrazeState.objects.filter(pk=state.pk).update(**changes)
    for name, value in changes.items():
        setattr(state, name, value)


def backoff_seconds(failures: int, chance: float) -> float:
    """Exponential backoff with full jitter: `chance` in [0, 1) of what the number of failures allows."""
    ceiling: float = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, 16))
    return chance * ceiling


def _pause(state: BrazeState, verdict: Verdict, now: datetime) -> None:
    """Send nothing until an operator resumes the account or saves its settings; nothing is dropped meanwhile."""
    words = {"pause_reason": verdict.words, "last_error": verdict.words}
    _change(state, paused_at=now, pause_kind=PauseKind.REFUSED, **words)
    ledger.dissolve_unstarted(state.account_id)
    logger.warning("account %s paused: %s", state.account_id, verdict.words)

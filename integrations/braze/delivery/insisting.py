"""Writes to the ledger what only this process knows, also if the database is away or takes nothing for some minutes."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from django.db import close_old_connections

from integrations.braze.delivery import settlement
from integrations.braze.delivery.settlement import Answered
from integrations.outbox.failover import AWAY

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: For how long, and how often, a settlement, or the undoing of a start, is retried while the database is away: until
#: another server has taken over, or an operator has made room on its disk.
INSIST_SECONDS, RETRY_SECONDS = 300.0, 0.5


def settle(account_id: int, answers: Sequence[Answered], meanwhile: Callable[[], None]) -> None:
    """Settle together, or one by one if that fails for another reason than the database being away.

    `meanwhile` is called before each further attempt.
    """
    if not answers:
        return
    try:
        settled = insist(partial(settlement.settle_all, account_id, answers), meanwhile)
    except AWAY:
        raise
    except Exception:
        if len(answers) == 1:
            raise
        _settle_each(account_id, answers, meanwhile)
        return
    for answer in answers:
        if answer.delivery_id not in settled:
            logger.warning("request %s was settled before its answer: %s", answer.delivery_id, answer.verdict.words)


def _settle_each(account_id: int, answers: Sequence[Answered], meanwhile: Callable[[], None]) -> None:
    """One by one: an answer that cannot be settled stays open, and becomes unknown at its deadline."""
    for answer in answers:
        try:
            settle(account_id, [answer], meanwhile)
        except Exception:
            logger.exception("request %s could not be settled", answer.delivery_id)


def insist(write: Callable[[], T], meanwhile: Callable[[], None]) -> T:
    """Write to the ledger, and retry while the database is away.

    Only this process knows which requests have been answered, or have not left: that must not be lost.
    """
    end = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            return write()
        except AWAY:
            if time.monotonic() > end:
                raise
            meanwhile()
            close_old_connections()
            time.sleep(RETRY_SECONDS)

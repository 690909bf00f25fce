"""Writes to the ledger what only this process knows, also if the database is away or takes nothing for some minutes.

It yields before each further attempt: no thread is kept until then, however many accounts have something to write.
"""

import logging
import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TypeVar

from django.db import close_old_connections

from integrations.braze.delivery import settlement
from integrations.braze.delivery.lanes import Waits
from integrations.braze.delivery.settlement import Answered
from integrations.outbox.failover import AWAY

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: What is done before a further attempt.
Meanwhile = Callable[[], Generator[Waits, None, None]]

#: For how long, and how often, a settlement, or the undoing of a start, is retried while the database is away: until
#: another server has taken over, or an operator has made room on its disk.
INSIST_SECONDS, RETRY_SECONDS = 300.0, 0.5


def settle(account_id: int, answers: Sequence[Answered], meanwhile: Meanwhile) -> Generator[Waits, None, None]:
    """Settle together, or one by one if that fails for another reason than the database being away."""
    if not answers:
        return
    try:
        settled = yield from insist(partial(settlement.settle_all, account_id, answers), meanwhile)
    except AWAY:
        raise
    except Exception:
        if len(answers) == 1:
            raise
        yield from _settle_each(account_id, answers, meanwhile)
        return
    for answer in answers:
        if answer.delivery_id not in settled:
            logger.warning("request %s was settled before its answer: %s", answer.delivery_id, answer.verdict.words)


def _settle_each(account_id: int, answers: Sequence[Answered], meanwhile: Meanwhile) -> Generator[Waits, None, None]:
    """One by one: an answer that cannot be settled stays open, and becomes unknown at its deadline."""
    for answer in answers:
        try:
            yield from settle(account_id, [answer], meanwhile)
        except Exception:
            logger.exception("request %s could not be settled", answer.delivery_id)


def insist(write: Callable[[], T], meanwhile: Meanwhile) -> Generator[Waits, None, T]:
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
        close_old_connections()
        yield from meanwhile()

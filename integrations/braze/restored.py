"""Notices a database that lost commits: restored from a backup, while Redis went on.

Each commit of a relay, and each start of requests, raises a counter in the database and afterwards in Redis; nothing is
sent before Redis has been told. Redis behind the database has forgotten something, which costs nothing. Redis ahead of
it means that requests were sent of which the ledger no longer knows, or no longer knows that they were: sending on
would double purchases, so the account pauses until a person says since when the ledger is in doubt.
"""

import logging
from datetime import datetime
from typing import Any

import redis
from django.db import transaction
from django.db.models import F

from integrations.braze import connection
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeState, Delivery, Fate, Outcome
from integrations.braze.models.account import PauseKind
from integrations.braze.records import ORDER_KINDS
from integrations.outbox import lease, nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status

logger = logging.getLogger(__name__)

REASON = (
    "The database has lost changes that were already sent: it was restored from a backup. Run "
    "`manage.py braze_restored --since <time of the backup>` before anything is sent again."
)
FACT_KINDS = ORDER_KINDS | {Kind.EVENT}


def count_commit(account_id: int) -> BrazeState:
    """Raise the database's counter, in the caller's transaction; the state as it is then."""
    if not BrazeState.objects.filter(account_id=account_id).update(commits=F("commits") + 1):
        return BrazeState.objects.create(account_id=account_id, commits=1)
    return BrazeState.objects.get(account_id=account_id)


def tell_redis(account_id: int) -> None:
    """Raise Redis' counter to the database's, after the commit. Raises `redis.RedisError`."""
    raise_in_redis(BrazeState.objects.get(account_id=account_id))


def raise_in_redis(state: BrazeState) -> None:
    """The same for a state that was read. Raises `redis.RedisError`."""
    connection.script("raise")(keys=[_key(state)], args=[state.commits])


def has_lost_commits(account_id: int) -> bool:
    """Whether Redis is ahead of the database; the account is then paused. Redis is read first: it is raised last."""
    state = BrazeState.objects.filter(account_id=account_id).first()
    if state is None:
        return False
    told = int(connection.client().get(_key(state)) or 0)
    if told <= state.commits:
        return False
    state.refresh_from_db()
    if told <= state.commits:
        return False
    BrazeState.objects.filter(pk=state.pk).update(
        paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason=REASON
    )
    logger.error("account %s paused: %s", account_id, REASON)
    return True


def may_go_on(account_id: int) -> bool:
    """False where commits were lost. A Redis that does not answer proves nothing, and nothing can be sent anyway."""
    try:
        return not has_lost_commits(account_id)
    except redis.RedisError:
        return True


@transaction.atomic
def resume(account_id: int, since: datetime) -> dict[str, int]:
    """Take what is in doubt for unknown, and go on; returns how many of what that were.

    Events and purchases that were open when the loss was noticed may have been sent after the backup, at `since`: they
    are held for an operator. State is harmless to send again: all that the mirror holds becomes uncertain.
    """
    noticed = BrazeState.objects.get(account_id=account_id).paused_at or since
    lease.revoke(account_id, NAME)
    now = database_now()
    open_requests = Delivery.objects.filter(account_id=account_id, finished_at=None)
    requests = open_requests.update(finished_at=now, outcome=Outcome.UNKNOWN, answer="The database was restored.")
    mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME)
    mine.filter(status=Status.BUFFERED).update(status=Status.PENDING, batch=None)
    doubtful = mine.filter(status=Status.PENDING, kind__in=FACT_KINDS, created_at__lt=noticed)
    words = f"The database was restored to {since:%Y-%m-%d %H:%M} UTC: this may have been sent since."
    facts = doubtful.update(status=Status.UNKNOWN, error=words, settled_at=now, parked=False)
    purchases = _doubt_purchases(account_id, words)
    profiles = _doubt_mirror(account_id)
    BrazeState.objects.filter(account_id=account_id).update(
        paused_at=None, pause_kind="", pause_reason="", commits=_told(account_id)
    )
    nudge.after_commit({account_id})
    return {"requests": requests, "events and orders": facts, "purchases": purchases, "profiles": profiles}


def _doubt_purchases(account_id: int, words: str) -> int:
    rows = BrazePurchase.objects.filter(account_id=account_id, fate__in=(Fate.PENDING, Fate.BUFFERED))
    return rows.update(fate=Fate.UNKNOWN, error=words)


def _doubt_mirror(account_id: int) -> int:
    profiles = BrazeProfile.objects.filter(account_id=account_id)
    for profile in profiles.iterator(2_000):
        uncertain: list[Any] = sorted({*profile.uncertain, *profile.attributes})
        BrazeProfile.objects.filter(pk=profile.pk).update(uncertain=uncertain)
    return profiles.count()


def _told(account_id: int) -> int:
    state = BrazeState.objects.get(account_id=account_id)
    return max(state.commits, int(connection.client().get(_key(state)) or 0))


def _key(state: BrazeState) -> str:
    """Named by the ledger, not by the account's id: another database on the same Redis has other ledgers."""
    return f"braze:{{{state.account_id}}}:commits:{state.ledger_id}"

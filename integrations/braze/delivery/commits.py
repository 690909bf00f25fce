"""Detects a database that lost commits, because it was restored from a backup while Redis went on.

Each commit of a relay, and each start of requests, raises a counter in the database and then one in Redis; nothing is
sent before Redis has been told. If Redis is behind, it has forgotten something, which does no harm. If Redis is ahead,
the ledger no longer knows of requests that were sent, or that they were sent. Sending on would duplicate purchases, so
the account pauses until a person runs `braze_restored`.
"""

import logging
import re
from typing import NamedTuple
from uuid import UUID

import redis
from django.db import connection as database

from integrations.braze.delivery import connection
from integrations.braze.models import BrazeState
from integrations.braze.models.account import PauseKind
from integrations.outbox.clock import database_now

logger = logging.getLogger(__name__)

REASON = (
    "The database has lost changes that were already sent: it was restored from a backup. Run "
    "`manage.py braze_restored --since <time of the backup>` before anything is sent again."
)
#: As `raise.lua` has it; longer ones are none of ours, and no float tells them apart.
_NUMBER = re.compile(rb"[0-9]{1,15}")
#: Accounts whose counters are asked for together.
LOOKED_AT = 1_000
#: Plain SQL, because Django would need a second query to read the new value.
_COUNT = (
    f'UPDATE "{BrazeState._meta.db_table}" SET commits = commits + 1 WHERE account_id = %s RETURNING ledger_id, commits'
)


class Counted(NamedTuple):
    """An account's ledger, and the value of its commit counter."""

    account_id: int
    ledger_id: UUID
    commits: int


def count_commit(account_id: int) -> Counted:
    """Raise the database's counter, in the caller's transaction; returns its new value."""
    with database.cursor() as cursor:
        cursor.execute(_COUNT, [account_id])
        if row := cursor.fetchone():
            ledger_id, commits = row
            return Counted(account_id, ledger_id if isinstance(ledger_id, UUID) else UUID(ledger_id), commits)
    return counted(BrazeState.objects.create(account_id=account_id, commits=1))


def counted(state: BrazeState) -> Counted:
    return Counted(state.account_id, state.ledger_id, state.commits)


def tell_redis(counted: Counted) -> None:
    """Raise Redis' counter to the database's, after the commit. Raises `redis.RedisError`."""
    connection.script("raise")(keys=[key(counted)], args=[counted.commits])


def has_lost_commits(state: BrazeState | None) -> bool:
    """Whether Redis is ahead of the database; if so, the account is paused here.

    Raises `redis.RedisError`. Redis is raised last, so a `state` that is behind may merely have been read too early: it
    is then read again.
    """
    if state is None:
        return False
    told = _told(state)
    if told <= state.commits:
        return False
    state.refresh_from_db()
    if told <= state.commits:
        return False
    not_paused = BrazeState.objects.filter(pk=state.pk).exclude(paused_at__isnull=False, pause_kind=PauseKind.RESTORED)
    if not_paused.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason=REASON):
        logger.error("account %s paused: %s", state.account_id, REASON)  # once: when it was noticed counts later
    return True


def notice_losses() -> None:
    """Look at all accounts, also those that have nothing to send or may not, and pause those whose commits were lost.

    What is captured until a loss is noticed is in doubt later on. Raises `redis.RedisError`.
    """
    noticed = {"paused_at__isnull": False, "pause_kind": PauseKind.RESTORED}
    states = list(BrazeState.objects.exclude(**noticed).only("account_id", "ledger_id", "commits"))
    for start in range(0, len(states), LOOKED_AT):
        some = states[start : start + LOOKED_AT]
        told = connection.client().mget([key(state) for state in some])
        for state, found in zip(some, told, strict=True):
            if _number(found) > state.commits:
                has_lost_commits(state)


def may_go_on(state: BrazeState | None) -> bool:
    """False if commits were lost. A Redis that does not answer proves nothing, and nothing can be sent anyway."""
    try:
        return not has_lost_commits(state)
    except redis.RedisError:
        return True


def highest(account_id: int) -> int:
    """The higher of the two counters, from which a restored database continues. Raises `redis.RedisError`."""
    state = BrazeState.objects.get(account_id=account_id)
    return max(state.commits, _told(state))


def _told(state: BrazeState) -> int:
    """Redis' counter. 0 if it is missing, or is no number: either way Redis has forgotten it, and is told it again."""
    try:
        found = connection.client().get(key(state))
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return 0
    return _number(found)


def _number(found: object) -> int:
    return int(found) if isinstance(found, bytes) and _NUMBER.fullmatch(found) else 0


def key(state: BrazeState | Counted) -> str:
    """Redis' key of the counter. It contains the ledger's id: another database on the same Redis has other ledgers."""
    return f"braze:{{{state.account_id}}}:commits:{state.ledger_id}"

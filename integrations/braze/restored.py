"""Notices a database that lost commits: restored from a backup, while Redis went on.

Each commit of a relay, and each start of requests, raises a counter in the database and afterwards in Redis; nothing is
sent before Redis has been told. Redis behind the database has forgotten something, which costs nothing. Redis ahead of
it means that requests were sent of which the ledger no longer knows, or no longer knows that they were: sending on
would double purchases, so the account pauses until a person says since when the ledger is in doubt.
"""

import logging
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import redis
from django.db import connection as database
from django.db import transaction
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat

from integrations.braze import connection, lost_purchases
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
#: By hand, since Django reads in a second query what an update has come to.
_COUNT = (
    f'UPDATE "{BrazeState._meta.db_table}" SET commits = commits + 1 WHERE account_id = %s RETURNING ledger_id, commits'
)
FACT_KINDS = ORDER_KINDS | {Kind.EVENT}


class Counted(NamedTuple):
    """An account's ledger, and its number of commits at some moment."""

    account_id: int
    ledger_id: UUID
    commits: int


def count_commit(account_id: int) -> Counted:
    """Raise the database's counter, in the caller's transaction."""
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
    connection.script("raise")(keys=[_key(counted)], args=[counted.commits])


def has_lost_commits(state: BrazeState | None) -> bool:
    """Whether Redis is ahead of the database; the account is then paused. Redis is raised last, so it is read first:

    a state that was read before it, and is behind, is read again.
    """
    if state is None:
        return False
    told = int(connection.client().get(_key(state)) or 0)
    if told <= state.commits:
        return False
    state.refresh_from_db()
    if told <= state.commits:
        return False
    not_paused = BrazeState.objects.filter(pk=state.pk).exclude(paused_at__isnull=False, pause_kind=PauseKind.RESTORED)
    if not_paused.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason=REASON):
        logger.error("account %s paused: %s", state.account_id, REASON)  # once: when it was noticed counts later
    return True


def may_go_on(state: BrazeState | None) -> bool:
    """False where commits were lost. A Redis that does not answer proves nothing, and nothing can be sent anyway."""
    try:
        return not has_lost_commits(state)
    except redis.RedisError:
        return True


@transaction.atomic
def resume(account_id: int, since: datetime) -> dict[str, int]:
    """Take what is in doubt for unknown, and go on; returns how many of what that were.

    Events and purchases that were open when the loss was noticed may have been sent after the backup, at `since`: they
    are held for an operator. So are those that Braze had refused: somebody may have sent them again. State is harmless
    to send again: all that the mirror holds becomes uncertain.
    """
    noticed = BrazeState.objects.get(account_id=account_id).paused_at or since
    lease.revoke(account_id, NAME)
    now = database_now()
    open_requests = Delivery.objects.filter(account_id=account_id, finished_at=None)
    requests = open_requests.update(finished_at=now, outcome=Outcome.UNKNOWN, answer="The database was restored.")
    mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME)
    mine.filter(status=Status.BUFFERED).update(status=Status.PENDING, batch=None)
    is_doubtful = Q(status=Status.PENDING, created_at__lt=noticed) | Q(status=Status.REJECTED)
    doubtful = mine.filter(is_doubtful, kind__in=FACT_KINDS)
    words = f"The database was restored to {since:%Y-%m-%d %H:%M} UTC: this may have been sent since."
    _doubt_orders(account_id, words)
    _doubt_refused_purchases(account_id, doubtful.filter(status=Status.REJECTED), words)
    lost_purchases.add(account_id, doubtful.filter(kind__in=ORDER_KINDS), now)
    facts = doubtful.filter(status=Status.REJECTED).update(status=Status.UNKNOWN, error=_in_front(words))
    facts += doubtful.update(status=Status.UNKNOWN, error=words, settled_at=now, parked=False, due_at=None)
    purchases = _doubt_purchases(account_id, words)
    profiles = _doubt_mirror(account_id)
    BrazeState.objects.filter(account_id=account_id).update(
        paused_at=None, pause_kind="", pause_reason="", commits=_told(account_id)
    )
    nudge.after_commit({account_id})
    return {"requests": requests, "events and orders": facts, "purchases": purchases, "profiles": profiles}


def _doubt_orders(account_id: int, words: str) -> None:
    """Orders with purchases that are to be sent, though none of their changes is: somebody has to see the doubt."""
    waiting = BrazePurchase.objects.filter(account_id=account_id, fate__in=(Fate.PENDING, Fate.BUFFERED))
    orders = set(waiting.values_list("customer_external_id", "order_id"))
    changes = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, kind__in=ORDER_KINDS)
    changes = changes.filter(customer_external_id__among={customer for customer, _ in orders})
    columns = ("customer_external_id", "data", "pk")
    orders -= {
        (customer, data.get("order_id", ""))
        for customer, data, _ in changes.filter(status=Status.PENDING).values_list(*columns)
    }
    ended = changes.filter(status=Status.SKIPPED)
    ids = {pk for customer, data, pk in ended.values_list(*columns) if (customer, data.get("order_id", "")) in orders}
    ended.filter(pk__among=ids).update(status=Status.UNKNOWN, error=words)


def _doubt_refused_purchases(account_id: int, refused: "QuerySet[OutboxEntry]", words: str) -> None:
    """Those that a change shows: others, as a deleted customer's, nobody can have sent again."""
    shown = refused.filter(kind__in=ORDER_KINDS).values_list("customer_external_id", "data")
    orders = {(customer, data.get("order_id", "")) for customer, data in shown}
    rows = BrazePurchase.objects.filter(account_id=account_id, fate=Fate.REJECTED)
    rows = rows.filter(customer_external_id__among={customer for customer, _ in orders})
    ids = [pk for pk, *order in rows.values_list("pk", "customer_external_id", "order_id") if tuple(order) in orders]
    BrazePurchase.objects.filter(pk__among=ids).update(fate=Fate.UNKNOWN, error=_in_front(words))


def _in_front(words: str) -> Concat:
    """Of what is said already."""
    return Concat(Value(f"{words} Before: "), F("error"), output_field=TextField())


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


def _key(state: BrazeState | Counted) -> str:
    """Named by the ledger, not by the account's id: another database on the same Redis has other ledgers."""
    return f"braze:{{{state.account_id}}}:commits:{state.ledger_id}"

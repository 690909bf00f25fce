"""What a person can do about an account's traffic: pause it, resume it, or have it tried at once."""

import redis
from django.db import transaction
from django.db.models import Q

from integrations.braze.delivery import connection, ledger, readiness
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeState
from integrations.braze.models.account import PauseKind
from integrations.outbox import lease, nudge
from integrations.outbox.clock import database_now


class NotResumable(Exception):
    """The account stays paused; the message says why, in words for an operator."""


class NotFlushable(Exception):
    """Nothing can be tried now; the message says why, in words for an operator."""


@transaction.atomic
def pause(account_id: int, by: str, reason: str = "") -> bool:
    """Send nothing more until `resume`; what is captured meanwhile waits. Requests in flight are still settled.

    Independent of any other pause: neither saving settings nor `braze_restored` ends it. False if somebody had already
    paused the account: it stays paused in their name.
    """
    lease.revoke(account_id, NAME)
    BrazeState.objects.get_or_create(account_id=account_id)
    mine = BrazeState.objects.filter(account_id=account_id, held_at=None)
    is_first = bool(mine.update(held_at=database_now(), held_by=by, held_reason=reason))
    ledger.dissolve_unstarted(account_id)
    return is_first


@transaction.atomic
def resume(account_id: int) -> bool:
    """End a person's pause, and a pause after a refusal by Braze. False if there was neither.

    Raises `NotResumable` if the database was restored: what may have been sent since has to be held first.
    """
    mine = BrazeState.objects.filter(account_id=account_id)
    if mine.filter(pause_kind=PauseKind.RESTORED).exists():
        raise NotResumable("The database was restored: `manage.py braze_restored` is what ends this pause.")
    was_paused = mine.filter(Q(held_at__isnull=False) | Q(paused_at__isnull=False)).update(
        held_at=None, held_by="", held_reason="", paused_at=None, pause_kind="", pause_reason="",
        backoff_until=None, last_error="",
    )  # fmt: skip
    nudge.after_commit({account_id})
    return bool(was_paused)


def flush_now(account_id: int) -> None:
    """End a backoff and wake the workers. The rate limit, and the rules that make a change wait, still apply.

    Raises `NotFlushable`, and changes nothing, if nothing could be sent anyway.
    """
    ready = readiness.of(account_id)
    if ready.state not in ("healthy", "backing off"):
        raise NotFlushable(ready.detail or "The integration is switched off.")
    try:
        connection.client().ping()
    except redis.RedisError:
        raise NotFlushable("Redis does not answer.") from None
    BrazeState.objects.filter(account_id=account_id).update(backoff_until=None)
    nudge.after_commit({account_id})

"""Requests that their sender has not settled by their deadline: their outcome is unknown."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import redis
from django.db import OperationalError, connection, transaction

from integrations.braze.delivery import buffer, ledger, settlement, verdicts

logger = logging.getLogger(__name__)

#: How long a silent request waits for a lock: short, since all accounts wait with it, but longer than a start takes.
LOCKED_MS = 100


def settle() -> None:
    """Settle, as unknown, requests whose sender has not settled them by their deadline.

    An account of which somebody has something locked is left to the next call: all accounts share the caller's threads.
    """
    locked: set[int] = set()
    for account_id, delivery_id in [*_unclaimed(ledger.silent()), *_unclaimed(ledger.dated_ahead(), are_sure=False)]:
        if account_id in locked:
            continue
        try:
            _settle_unless_locked(delivery_id)
        except OperationalError as error:
            locked.add(account_id)
            logger.warning("silent requests of account %s wait: %s", account_id, str(error).partition("\n")[0])
        except Exception:  # one request that cannot be settled must not keep every other account's from it
            logger.exception("request %s could not be settled", delivery_id)


def _unclaimed(silent: Sequence[tuple[int, UUID]], are_sure: bool = True) -> list[tuple[int, UUID]]:
    """Without those whose claim has not run out yet.

    A claim lasts as long as a request can take, by another clock: if the database's was set forward, senders still wait
    for their answers. If Redis fails, the database's clock counts alone, unless it was set back (`are_sure` is False).
    """
    by_account: dict[int, list[UUID]] = defaultdict(list)
    for account_id, delivery_id in silent:
        by_account[account_id].append(delivery_id)
    claimed: set[UUID] = set()
    try:
        for account_id, ids in by_account.items():
            claimed |= buffer.claimed(account_id, ids)
    except redis.RedisError:
        if not are_sure:
            return []
    return [each for each in silent if each[1] not in claimed]


def _settle_unless_locked(delivery_id: UUID) -> None:
    """Raises `OperationalError` if it would have to wait for a lock."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCKED_MS}ms"])
        settlement.settle(delivery_id, verdicts.silent())

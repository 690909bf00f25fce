"""One relay per account and integration at a time: a lease in the database, by token, on the database's clock."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from integrations.outbox.clock import database_now
from integrations.outbox.models import Lease
from integrations.outbox.sql import moment

_TABLE = Lease._meta.db_table


class LeaseLost(Exception):
    """The lease ran out before the work was committed; another holder may be at work."""


@dataclass(frozen=True, slots=True)
class Held:
    lease_id: int
    token: uuid.UUID
    ttl: timedelta

    def confirm(self) -> None:
        """Renew the lease; raises `LeaseLost` where it ran out.

        Call it inside the transaction that it protects: the update holds the row until the commit, so nobody
        else can take the lease in between.
        """
        now = database_now()
        mine = Lease.objects.filter(pk=self.lease_id, token=self.token, expires_at__gt=now)
        if not mine.update(expires_at=now + self.ttl):
            raise LeaseLost


@contextmanager
def hold(account_id: int, integration: str, ttl: timedelta) -> Iterator[Held | None]:
    """Take the lease, or yield None where somebody else holds it. Released at the end, unless taken over."""
    held = _take(account_id, integration, ttl)
    try:
        yield held
    finally:
        if held:
            Lease.objects.filter(pk=held.lease_id, token=held.token).update(token=None)


def establish(account_id: int, integration: str) -> None:
    """There is a lease from now on, so that `revoke` takes it also from the first who ever holds it."""
    Lease.objects.get_or_create(account_id=account_id, integration=integration)


def revoke(account_id: int, integration: str) -> None:
    """Take the lease from whoever holds it: what they have not committed by now, they cannot commit any more."""
    Lease.objects.filter(account_id=account_id, integration=integration).update(token=None)


def _take(account_id: int, integration: str, ttl: timedelta) -> Held | None:
    token, now = uuid.uuid4(), database_now()
    taken = _update(account_id, integration, token, now, ttl)
    if taken is None and not Lease.objects.filter(account_id=account_id, integration=integration).exists():
        Lease.objects.get_or_create(account_id=account_id, integration=integration)
        taken = _update(account_id, integration, token, now, ttl)
    return None if taken is None else Held(taken, token, ttl)


def _update(account_id: int, integration: str, token: uuid.UUID, now: datetime, ttl: timedelta) -> int | None:
    """The id of the lease, where it was free. One statement: each relay begins with it.

    A holder at its commit has the row locked: that is "held", not something to wait for. SQLite has one writer anyway.
    """
    lock = " FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    free = f"SELECT id FROM {_TABLE} WHERE account_id = %s AND integration = %s"
    free += f" AND (token IS NULL OR expires_at <= %s){lock}"
    statement = f"UPDATE {_TABLE} SET token = %s, expires_at = %s WHERE id = ({free}) RETURNING id"
    identity = token if connection.features.has_native_uuid_field else token.hex
    with connection.cursor() as cursor:
        cursor.execute(statement, [identity, moment(now + ttl), account_id, integration, moment(now)])
        row = cursor.fetchone()
    return int(row[0]) if row else None

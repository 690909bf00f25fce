"""One relay per account and integration at a time: a lease in the database, by token, on the database's clock."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import close_old_connections, connection

from integrations.outbox.clock import CLOCKS_DIFFER, NOW, now_and
from integrations.outbox.failover import AWAY
from integrations.outbox.models import Lease

logger = logging.getLogger(__name__)

_TABLE = Lease._meta.db_table


class LeaseLost(Exception):
    """The lease ran out before the work was committed; another holder may be at work."""


@dataclass(slots=True)
class Held:
    """A lease that we hold. The holder sets `has_emptied` if it moved something and left nothing behind."""

    lease_id: int
    token: uuid.UUID
    ttl: timedelta
    has_emptied: bool = False

    def confirm(self) -> None:
        """Renew the lease; raises `LeaseLost` if it has run out or was revoked.

        Call it inside the transaction that it protects: the update holds the row until the commit, so nobody
        else can take the lease in between.
        """
        now, end = now_and(self.ttl)
        renew = f"UPDATE {_TABLE} SET expires_at = {end} WHERE id = %s AND token = %s AND expires_at > {now}"
        if not _execute(renew, self.lease_id, self.token):
            raise LeaseLost


@contextmanager
def hold(account_id: int, integration: str, ttl: timedelta) -> Iterator[Held | None]:
    """Take the lease, or yield None if somebody else holds it. Released at the end, unless taken over."""
    held = _take(account_id, integration, ttl)
    try:
        yield held
    finally:
        if held:
            _release(held)


def _release(held: Held) -> None:
    """Also after the holder's connection broke: otherwise the next relay waits for the lease to run out."""
    try:
        _set_free(held)
    except AWAY:
        close_old_connections()
        try:
            _set_free(held)
        except AWAY as error:
            logger.warning("a lease was not released and has to run out: %s", type(error).__name__)


def _set_free(held: Held) -> None:
    emptied = f", emptied_at = {NOW[connection.vendor]}" if held.has_emptied else ""
    _execute(f"UPDATE {_TABLE} SET token = NULL{emptied} WHERE id = %s AND token = %s", held.lease_id, held.token)


def have_others_emptied(account_id: int, within: timedelta) -> bool:
    """Whether another account had work within this time and finished it: such accounts are likely to have more soon.

    What is dated ahead was dated before the clock was set back, and says nothing.
    """
    (_, then), (_, ahead) = now_and(-within), now_and(CLOCKS_DIFFER)
    others = f"SELECT 1 FROM {_TABLE} WHERE account_id <> %s AND emptied_at > {then} AND emptied_at < {ahead}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS ({others})", [account_id])
        return bool(cursor.fetchone()[0])


def establish(account_id: int, integration: str) -> None:
    """Create the lease's row, if it is missing, so that `revoke` also works against its very first holder."""
    Lease.objects.get_or_create(account_id=account_id, integration=integration)


def revoke(account_id: int, integration: str) -> None:
    """Take the lease away from its holder, who can no longer commit what is not committed yet."""
    Lease.objects.filter(account_id=account_id, integration=integration).update(token=None)


def _take(account_id: int, integration: str, ttl: timedelta) -> Held | None:
    token = uuid.uuid4()
    taken = _update(account_id, integration, token, ttl)
    if taken is None and not Lease.objects.filter(account_id=account_id, integration=integration).exists():
        Lease.objects.get_or_create(account_id=account_id, integration=integration)
        taken = _update(account_id, integration, token, ttl)
    return None if taken is None else Held(taken, token, ttl)


def _update(account_id: int, integration: str, token: uuid.UUID, ttl: timedelta) -> int | None:
    """The id of the lease, or None if it is held (or has no row). One statement, because every relay begins with it.

    A holder that is committing has the row locked: that counts as held, and is not waited for. SQLite has one writer
    anyway. A lease that ends too late was taken before the database's clock was set back, and is free, too: a holder
    that is still there notices it at its commit.
    """
    lock = " FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    free = f"SELECT id FROM {_TABLE} WHERE account_id = %s AND integration = %s"
    now, end = now_and(ttl)
    _, too_late = now_and(2 * ttl)
    free += f" AND (token IS NULL OR expires_at <= {now} OR expires_at > {too_late}){lock}"
    with connection.cursor() as cursor:
        statement = f"UPDATE {_TABLE} SET token = %s, expires_at = {end} WHERE id = ({free}) RETURNING id"
        cursor.execute(statement, [_identity(token), account_id, integration])
        row = cursor.fetchone()
    return int(row[0]) if row else None


def _execute(statement: str, lease_id: int, token: uuid.UUID) -> int:
    """How many rows it changed. Plain SQL: every relay does this, and Django's ORM takes longer than the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [lease_id, _identity(token)])
        return int(cursor.rowcount)


def _identity(token: uuid.UUID) -> uuid.UUID | str:
    return token if connection.features.has_native_uuid_field else token.hex

"""One relay per account and integration at a time: a lease in the database, by token, on the database's clock."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from integrations.outbox.clock import database_now
from integrations.outbox.models import Lease


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


def revoke(account_id: int, integration: str) -> None:
    """Take the lease from whoever holds it: what they have not committed by now, they cannot commit any more."""
    Lease.objects.filter(account_id=account_id, integration=integration).update(token=None)


def _take(account_id: int, integration: str, ttl: timedelta) -> Held | None:
    lease, _ = Lease.objects.get_or_create(account_id=account_id, integration=integration)
    token, now = uuid.uuid4(), database_now()
    with transaction.atomic():  # a holder at its commit has the row locked: that is "held", not something to wait for
        free = Lease.objects.filter(pk=lease.pk).filter(Q(token=None) | Q(expires_at__lte=now))
        if not free.select_for_update(skip_locked=True).exists():
            return None
        Lease.objects.filter(pk=lease.pk).update(token=token, expires_at=now + ttl)
    return Held(lease.pk, token, ttl)

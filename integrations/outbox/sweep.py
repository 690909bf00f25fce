"""Finds what nudges have missed: accounts with entries that are ready to be relayed."""

import logging
from collections.abc import Collection

from django.db.models import OuterRef, Q, Subquery

from integrations.outbox import nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.patience import no_time_limit
from integrations.outbox.registry import Integration, integrations
from masivo_braze.loyalty.models import Account

logger = logging.getLogger(__name__)


@no_time_limit()
def sweep() -> list[int]:
    """Nudge each account that has an entry ready to be relayed; returns their ids.

    Accounts that are paused or switched off may be thousands, and stay so for weeks. Their relays would do nothing, but
    everybody else's would wait behind them, every second.
    """
    due = OutboxEntry.objects.filter(account_id=OuterRef("pk"), status=Status.PENDING, pk__gte=0)
    due = due.filter(Q(parked=False, due_at=None) | Q(due_at__lte=database_now())).order_by("integration", "pk")
    accounts = Account.objects.alias(first=Subquery(due.values("pk")[:1])).filter(first__isnull=False)
    account_ids = list(accounts.order_by().values_list("pk", flat=True))
    left_out = {integration.name: _left_out(integration, account_ids) for integration in integrations()}
    for account_id in account_ids:
        nudge.publish(account_id, [name for name, theirs in left_out.items() if account_id in theirs])
    return account_ids


def _left_out(integration: Integration, account_ids: Collection[int]) -> set[int]:
    """Accounts that this integration is not nudged for; none if it fails to say which are asleep."""
    try:
        return integration.asleep(account_ids)
    except Exception:  # one integration's trouble must not keep the others' accounts from being woken
        logger.exception("%s does not say which accounts are asleep", integration.name)
        return set()

"""Finds what nudges have missed: accounts with entries that are ready to be relayed."""

from django.db.models import OuterRef, Q, Subquery

from integrations.outbox import nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account


def sweep() -> list[int]:
    """Nudge each account that has an entry ready to be relayed; returns their ids."""
    due = OutboxEntry.objects.filter(account_id=OuterRef("pk"), status=Status.PENDING, pk__gte=0)
    due = due.filter(Q(parked=False, due_at=None) | Q(due_at__lte=database_now())).order_by("integration", "pk")
    accounts = Account.objects.alias(first=Subquery(due.values("pk")[:1])).filter(first__isnull=False)
    account_ids = list(accounts.values_list("pk", flat=True))
    for account_id in account_ids:
        nudge.publish(account_id)
    return account_ids

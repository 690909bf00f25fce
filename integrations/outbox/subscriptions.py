"""Keeps the table of subscriptions equal to what an integration's settings say."""

from django.db import transaction

from integrations.outbox.models import Subscription
from integrations.outbox.registry import Integration


@transaction.atomic
def refresh(integration: Integration, account_id: int) -> None:
    """Make the account's subscriptions those of `integration.wants`; call it in the settings' own transaction."""
    wanted = integration.wants(account_id)
    mine = Subscription.objects.filter(account_id=account_id, integration=integration.name)
    mine.exclude(topic__in=wanted).delete()
    Subscription.objects.bulk_create(
        (Subscription(account_id=account_id, integration=integration.name, topic=topic) for topic in wanted),
        ignore_conflicts=True,
    )

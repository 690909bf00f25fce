"""Keeps the subscriptions in line with an integration's settings."""

from django.db import transaction

from integrations.outbox.models import Subscription
from integrations.outbox.registry import Integration


@transaction.atomic
def refresh(integration: Integration, account_id: int) -> None:
    """Make the account's subscriptions equal to `integration.wants`.

    Call it in the transaction that saves the settings.
    """
    wanted = integration.wants(account_id)
    mine = Subscription.objects.filter(account_id=account_id, integration=integration.name)
    mine.exclude(topic__in=wanted).delete()
    Subscription.objects.bulk_create(
        (Subscription(account_id=account_id, integration=integration.name, topic=topic) for topic in wanted),
        ignore_conflicts=True,
    )

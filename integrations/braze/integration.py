"""Braze as an integration of the outbox."""

from collections.abc import Collection
from typing import Any

from django.db.models import QuerySet

from integrations.braze.models import BrazeSettings
from integrations.outbox.models import OutboxEntry, Status, Topic

NAME = "braze"

#: Toggle of the settings → the topic that it subscribes to.
TOPICS: dict[str, Topic] = {
    "create_customers": Topic.CUSTOMER_CREATED,
    "update_customers": Topic.CUSTOMER_UPDATED,
    "delete_customers": Topic.CUSTOMER_DELETED,
    "sync_customer_tags": Topic.CUSTOMER_TAGS,
    "sync_events": Topic.EVENTS,
    "sync_purchases": Topic.ORDERS,
    "sync_audiences": Topic.AUDIENCES,
}


def entries_of(account_id: Any) -> "QuerySet[OutboxEntry]":
    """The account's captured changes for Braze. (The id may also be a `Parameter`, or refer to an outer query.)"""
    return OutboxEntry.objects.filter(account_id=account_id, integration=NAME)


def pending_of(account_id: Any) -> "QuerySet[OutboxEntry]":
    return entries_of(account_id).filter(status=Status.PENDING)


class BrazeIntegration:
    name = NAME

    def wants(self, account_id: int) -> frozenset[Topic]:
        settings = BrazeSettings.objects.filter(account_id=account_id, is_enabled=True).first()
        return frozenset(topic for toggle, topic in TOPICS.items() if settings and getattr(settings, toggle))

    def announce(self, account_ids: Collection[int]) -> None:
        from integrations.braze.delivery import giving_way

        giving_way.announce(account_ids)

    def nudge(self, account_id: int) -> None:
        from integrations.braze.tasks import relay

        relay.apply_async((account_id,), expires=5)

    def asleep(self, account_ids: Collection[int]) -> set[int]:
        from integrations.braze.delivery import readiness

        return readiness.not_ready(account_ids)

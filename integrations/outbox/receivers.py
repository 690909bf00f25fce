"""Receives Django's and loyalty's signals. Rows loaded from fixtures (`raw`) are not captured."""

from collections.abc import Collection
from typing import Any

from django.db.models.signals import post_delete, post_save, pre_delete

from integrations.outbox import capture, changes
from integrations.outbox.models import Kind, Subscription
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine
from masivo_braze.loyalty.signals import connect_rows, members_left, rows_changed


def connect() -> None:
    """Called once, when the app registry is ready."""
    connect_rows(post_save, customer_saved, Customer, "outbox.customer_saved")
    connect_rows(post_delete, customer_deleted, Customer, "outbox.customer_deleted")
    connect_rows(post_save, event_saved, Event, "outbox.event_saved")
    connect_rows(post_save, order_saved, Order, "outbox.order_saved")
    connect_rows(post_save, line_saved, OrderLine, "outbox.line_saved")
    connect_rows(post_save, membership_saved, Membership, "outbox.membership_saved")
    connect_rows(post_delete, membership_deleted, Membership, "outbox.membership_deleted")
    connect_rows(post_save, audience_saved, Audience, "outbox.audience_saved")
    connect_rows(pre_delete, account_deleted, Account, "outbox.account_deleted")
    rows_changed.connect(bulk_changed, dispatch_uid="outbox.bulk_changed")
    members_left.connect(many_left, dispatch_uid="outbox.many_left")


def customer_saved(instance: Customer, created: bool, raw: bool = False, **_: Any) -> None:
    if raw:
        return
    change = changes.customer_created(instance) if created else changes.customer_updated(instance, instance.loaded_tags)
    capture.record([change])


def customer_deleted(instance: Customer, **_: Any) -> None:
    capture.record([changes.customer_deleted(instance)])


def event_saved(instance: Event, created: bool, raw: bool = False, **_: Any) -> None:
    if created and not raw:
        capture.record([changes.event_created(instance)])


def order_saved(instance: Order, raw: bool = False, **_: Any) -> None:
    if not raw:
        capture.record(changes.orders_changed([instance], {instance.pk: instance.loaded_status}))


def line_saved(instance: OrderLine, created: bool, raw: bool = False, **_: Any) -> None:
    if created and not raw:
        capture.record(changes.lines_created([instance]))


def membership_saved(instance: Membership, created: bool, raw: bool = False, **_: Any) -> None:
    if created and not raw:
        capture.record([changes.membership_changed(instance, Kind.AUDIENCE_JOINED)])


def membership_deleted(instance: Membership, **_: Any) -> None:
    capture.record([changes.membership_changed(instance, Kind.AUDIENCE_LEFT)])


def audience_saved(
    instance: Audience, created: bool, raw: bool = False, update_fields: Collection[str] | None = None, **_: Any
) -> None:
    is_written = update_fields is None or "name" in update_fields
    if created or raw or not is_written or instance.loaded_name in (None, instance.name):
        return
    _renamed(instance, instance.loaded_name)


def account_deleted(instance: Account, **_: Any) -> None:
    """Unsubscribe an account that is being deleted, so that the deletions of its records are not captured."""
    Subscription.objects.filter(account=instance).delete()


def bulk_changed(sender: type, action: str, rows: list[Any], before: dict[Any, Any] | None = None, **_: Any) -> None:
    if sender is not Audience:
        capture.record(changes.of_rows(sender, action, rows, before or {}))
    elif action == "updated":
        for audience in rows:
            _renamed(audience, (before or {}).get(audience.pk, {}).get("name", audience.name))


def many_left(audience: Audience, customers: list[int], **_: Any) -> None:
    change = changes.of_audience(audience, Kind.AUDIENCE_LEFT)
    capture.record_for(Customer.objects.filter(pk__among=customers), change)


def _renamed(audience: Audience, old_name: str) -> None:
    if old_name != audience.name:
        change = changes.of_audience(audience, Kind.AUDIENCE_RENAMED, old_name=old_name)
        capture.record_for(Customer.objects.filter(memberships__audience=audience), change)

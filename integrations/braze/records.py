"""Loads, in bulk, what a list of outbox entries is about."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models.functions import RTrim

from integrations.braze.models import BrazeProfile, BrazePurchase
from integrations.outbox.models import Kind, OutboxEntry
from masivo_braze.loyalty.models import Customer, Event, Membership, Order

AUDIENCE_KINDS = frozenset({Kind.AUDIENCE_JOINED, Kind.AUDIENCE_LEFT, Kind.AUDIENCE_RENAMED})
ORDER_KINDS = frozenset({Kind.ORDER, Kind.ORDER_LINE})


@dataclass(frozen=True, slots=True)
class Records:
    """The newest records behind some entries, as the database has them now."""

    customers: dict[str, Customer]
    events: dict[str, Event]
    orders: dict[str, Order]
    purchases: dict[str, list[BrazePurchase]]  #: by order_id, in the order they were made
    audiences: dict[str, set[str]]  #: customer → names of the audiences in question that they are in now
    profiles: dict[str, BrazeProfile]


def load(account_id: int, entries: Sequence[OutboxEntry]) -> Records:
    external_ids = {entry.customer_external_id for entry in entries}
    orders = _orders(_subjects(entries, ORDER_KINDS))
    return Records(
        customers={
            c.external_id: c for c in Customer.objects.filter(account_id=account_id, external_id__in=external_ids)
        },
        events=_events(_subjects(entries, {Kind.EVENT})),
        orders=orders,
        purchases=_purchases(account_id, {order.order_id for order in orders.values()}),
        audiences=_audiences(account_id, external_ids, entries),
        profiles={
            p.external_id: p for p in BrazeProfile.objects.filter(account_id=account_id, external_id__in=external_ids)
        },
    )


def _subjects(entries: Iterable[OutboxEntry], kinds: Iterable[str]) -> set[str]:
    return {entry.subject for entry in entries if entry.kind in kinds}


def _events(ids: set[str]) -> dict[str, Event]:
    return (
        {str(event.pk): event for event in Event.objects.filter(pk__in=ids).select_related("customer")} if ids else {}
    )


def _orders(ids: set[str]) -> dict[str, Order]:
    if not ids:
        return {}
    orders = Order.objects.filter(pk__in=ids).select_related("account", "customer").prefetch_related("lines")
    return {str(order.pk): order for order in orders}


def _purchases(account_id: int, order_ids: set[str]) -> dict[str, list[BrazePurchase]]:
    by_order: dict[str, list[BrazePurchase]] = defaultdict(list)
    if order_ids:
        for row in BrazePurchase.objects.filter(account_id=account_id, order_id__in=order_ids).order_by("pk"):
            by_order[row.order_id].append(row)
    return by_order


def _audiences(account_id: int, external_ids: set[str], entries: Sequence[OutboxEntry]) -> dict[str, set[str]]:
    """Names by customer: of the audiences that the entries speak of, and of those that bear a name they mention.

    Braze strips spaces, so two names that differ in nothing else are one attribute: whoever leaves one of the two is
    still in the other.
    """
    mine = [entry for entry in entries if entry.kind in AUDIENCE_KINDS]
    members: dict[str, set[str]] = defaultdict(set)
    if not mine and not any(entry.data.get("resync") for entry in entries):
        return members
    names = {name.rstrip() for entry in mine for name in mentioned(entry)}
    resynced = {entry.customer_external_id for entry in entries if entry.data.get("resync")}
    rows = Membership.objects.filter(audience__account_id=account_id, customer__external_id__in=external_ids)
    by_name = rows.annotate(stripped=RTrim("audience__name")).filter(stripped__in=names)
    by_id = rows.filter(audience_id__in={entry.subject for entry in mine if entry.subject})
    all_of_some = rows.filter(customer__external_id__in=resynced)
    for query in (by_name, by_id, all_of_some):
        for external_id, name in query.values_list("customer__external_id", "audience__name"):
            members[external_id].add(name)
    return members


def mentioned(entry: OutboxEntry) -> set[str]:
    """The audience names that an entry speaks of."""
    return {name for key in ("name", "old_name") if (name := entry.data.get(key))}

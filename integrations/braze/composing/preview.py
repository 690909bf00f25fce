"""What would be sent now for a customer, an event or an order, by the relay's own rules and mapping; saves nothing."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.braze.composing import compose, records
from integrations.braze.composing.records import ORDER_KINDS, Records
from integrations.braze.composing.waiting import deletion_settles_at
from integrations.braze.delivery import readiness
from integrations.braze.integration import entries_of, pending_of
from integrations.braze.mapping import differences
from integrations.braze.mapping.objects import Bundle, Entry
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings
from integrations.braze.models.ledger import TRACKED
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, Status
from masivo_braze.loyalty.models import Account, Customer, Event, Order

DELETION_FIRST = "for the deletion of the customer who had this id before: it is sent first, and Braze then has nothing"


@dataclass(frozen=True, slots=True)
class Preview:
    """`objects` are those that Braze would get, by array. The rest are sentences for an operator."""

    objects: dict[str, list[dict[str, Any]]]
    adjustments: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    account: str = ""

    def as_json(self) -> dict[str, Any]:
        """Without empty fields."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name))}


def customer(record: Customer) -> Preview:
    """As if all of the customer's attributes, tags and audiences were compared with the mirror again."""
    profile = BrazeProfile.objects.filter(account_id=record.account_id, external_id=record.external_id).first()
    kind = Kind.CUSTOMER_UPDATED if profile and profile.is_known else Kind.CUSTOMER_CREATED
    return _preview(record.account, record, kind, str(record.pk), {"resync": True})


def event(record: Event) -> Preview:
    return _preview(record.account, record.customer, Kind.EVENT, str(record.pk), {})


def order(record: Order) -> Preview:
    """Includes how the order's lines now differ from what was sent of them."""
    data = {"order_id": record.order_id, "status": "FULFILLED" if _is_sale_due(record) else record.status}
    return _preview(record.account, record.customer, Kind.ORDER, str(record.pk), data, _differences(record))


def _is_sale_due(record: Order) -> bool:
    """Whether the order's fulfilment is still waiting: then it is sent first, even if the order is closed by now."""
    waiting = pending_of(record.account_id)
    return waiting.filter(kind__in=ORDER_KINDS, subject=str(record.pk), data__status="FULFILLED").exists()


def _differences(record: Order) -> list[str]:
    rows = BrazePurchase.objects.filter(account_id=record.account_id, order_id=record.order_id).order_by("pk")
    return differences.differences(record, list(rows))


def _preview(
    account: Account,
    of: Customer,
    kind: Kind,
    subject: str,
    data: dict[str, Any],
    differences: list[str] | None = None,
) -> Preview:
    entry = Entry(0, kind, of.external_id, subject, data)
    settings = BrazeSettings.objects.filter(account=account).first()
    if settings is None:
        return Preview({}, differences=differences or [], account="The account has no Braze settings.")
    loaded, now = records.load(account.pk, [entry]), database_now()
    waiting = _after_deletion(of, settings, loaded, now)
    bundle = compose.bundle(of.external_id, [entry], settings, loaded, now)
    return _told(bundle, differences or [], waiting, _standing(account))


def _after_deletion(of: Customer, settings: BrazeSettings, loaded: Records, now: datetime) -> list[str]:
    """What a customer who was deleted and created again waits for, in words.

    If the deletion is still to be sent, the profile is taken out of `loaded`: Braze will hold nothing of it by then.
    """
    mine = entries_of(of.account_id).filter(customer_external_id=of.external_id)
    on_the_way = mine.filter(status__in=(Status.PENDING, Status.BUFFERED), kind=Kind.CUSTOMER_DELETED)
    if settings.delete_customers and on_the_way.exists():
        loaded.profiles.pop(of.external_id, None)
        return [DELETION_FIRST]
    profile = loaded.profiles.get(of.external_id)
    settled_at = deletion_settles_at(profile) if profile else None
    if settled_at is None or settled_at <= now:
        return []
    return [f"until {settled_at:%Y-%m-%d %H:%M:%S} UTC, when the deletion has taken effect throughout Braze"]


def _told(bundle: Bundle, differences: list[str], waiting: list[str], standing: str) -> Preview:
    objects = {name: getattr(bundle, name) for name in TRACKED if getattr(bundle, name)}
    told = [sentence for items in objects.values() for item in items for sentence in item.adjustments]
    return Preview(
        objects={name: [item.body for item in items] for name, items in objects.items()},
        adjustments=list(dict.fromkeys(told)),
        skipped=list(bundle.skipped.values()),
        rejected=list(dict.fromkeys([*bundle.rejected.values(), *bundle.failed.values()])),
        waiting=[*waiting, *bundle.parked.values(), *_later(bundle)],
        differences=differences,
        account=standing,
    )


def _later(bundle: Bundle) -> list[str]:
    more = sum(row.error == "" for row in bundle.new_purchases) - len(bundle.purchases)
    return [f"{more:,} more purchases follow in further requests"] if more > 0 else []


def _standing(account: Account) -> str:
    ready = readiness.of(account.pk)
    if ready.is_ready:
        return ""
    return f"Nothing is sent now: the account is {ready.state}{': ' * bool(ready.detail)}{ready.detail}"

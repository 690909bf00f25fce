"""Whether a captured change is sent, or skipped and why."""

from collections.abc import Callable

from django.conf import settings as django_settings

from integrations.braze.composing.records import AUDIENCE_KINDS, ORDER_KINDS, Records
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazeSettings
from integrations.outbox.models import Kind

#: Masivo's internal events, never forwarded; the match is exact, case included. Settings can only add to them.
INTERNAL_EVENTS = frozenset(
    {"REGISTRATION", "FULFILL", "REVERSE", "EXPIRE", "CANCEL", "REDEEM_COUPON", "TIER_ADJUSTMENT"}
)

#: Braze: "'external_id' must be fewer than 988 bytes" [Braze: errors].
MAX_EXTERNAL_ID_BYTES = 987

CREATED_AGAIN = "the event was deleted and created again: that later change is sent"
NOTHING_CHANGED = "nothing changed: Braze already has this"


def why_skipped(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    """The rule that keeps an entry from being sent, in words for an operator; "" if it is to be sent."""
    return _RULES[entry.kind](entry, settings, records)


def why_rejected(external_id: str) -> str:
    """Why Braze would refuse anything sent of this customer; "" if it would not."""
    size = len(external_id.encode())
    if size <= MAX_EXTERNAL_ID_BYTES:
        return ""
    return f"the customer's external id has {size:,} bytes, and Braze takes {MAX_EXTERNAL_ID_BYTES}"


def _customer(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    if entry.customer_external_id not in records.customers:
        return "the customer is no longer there"
    if settings.sync_customer_tags or sends_profile(entry.kind, settings):
        return ""
    if entry.data.get("resync") and settings.sync_audiences:
        return ""
    return (
        "Create customers is switched off"
        if entry.kind == Kind.CUSTOMER_CREATED
        else "Update customers is switched off"
    )


def sends_profile(kind: str, settings: BrazeSettings) -> bool:
    """Whether a change of this kind sends the profile's own attributes (tags have a toggle of their own)."""
    return settings.create_customers if kind == Kind.CUSTOMER_CREATED else settings.update_customers


def _event(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    if not settings.sync_events:
        return "Events is switched off"
    event = records.events.get(entry.subject)
    if event is None or event.customer.external_id != entry.customer_external_id:
        return "the event is no longer there"
    is_internal = event.type in INTERNAL_EVENTS or event.type in django_settings.BRAZE_INTERNAL_EVENTS
    return f"{event.type} is an internal event" if is_internal else ""


def _order(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    if not settings.sync_purchases:
        return "Purchases is switched off"
    order = records.orders.get(entry.subject)
    if order is None:
        is_negated = entry.subject in records.gone and not entry.is_of_sale
        return "" if is_negated else "the order is no longer there"
    if order.fulfilled_at or (not entry.is_of_sale and _has_sales(entry, records)):
        return ""
    return "the order was never fulfilled"


def _has_sales(entry: Entry, records: Records) -> bool:
    """Whether there may be something to negate: of an order that was sold, the time of its sale can be cleared."""
    rows = records.purchases.get(entry.data.get("order_id", ""), ())
    return any(row.customer_external_id == entry.customer_external_id for row in rows)


def _deletion(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    return "" if settings.delete_customers else "Delete customers is switched off"


def _audience(entry: Entry, settings: BrazeSettings, records: Records) -> str:
    if not settings.sync_audiences:
        return "Audiences is switched off"
    return "" if entry.data.get("audience_id") else "the audience has no audience_id"


_RULES: dict[str, Callable[[Entry, BrazeSettings, Records], str]] = {
    Kind.EVENT: _event,
    Kind.CUSTOMER_CREATED: _customer,
    Kind.CUSTOMER_UPDATED: _customer,
    Kind.CUSTOMER_DELETED: _deletion,
    **dict.fromkeys(ORDER_KINDS, _order),
    **dict.fromkeys(AUDIENCE_KINDS, _audience),
}

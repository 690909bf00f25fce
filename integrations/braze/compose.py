"""From one customer's pending entries to all that this customer sends in one request. No database, no clock."""

from collections.abc import Sequence

from integrations.braze import mirror, payloads, rules
from integrations.braze.models import BrazePurchase, BrazeSettings, Fate
from integrations.braze.objects import BrazeObject, Bundle
from integrations.braze.records import AUDIENCE_KINDS, ORDER_KINDS, Records, mentioned
from integrations.outbox.models import Kind, OutboxEntry
from masivo_braze.loyalty.models import Order

#: Braze's ceiling per array of a request [Braze: API limits].
MAX_PER_ARRAY = 75

STATE_KINDS = AUDIENCE_KINDS | {Kind.CUSTOMER_CREATED, Kind.CUSTOMER_UPDATED}
#: A sale in one of these may still arrive, or may have: its reversal waits.
UNRESOLVED = frozenset({Fate.PENDING, Fate.BUFFERED, Fate.UNKNOWN})

ALREADY_SENT = "nothing new: this order's purchases were already sent"


def bundle(customer: str, entries: Sequence[OutboxEntry], settings: BrazeSettings, records: Records) -> Bundle:
    """Entries in the order of their ids. Those that no longer fit are left out: they stay pending.

    Facts keep their order, so the first that does not fit ends the bundle. State is computed now, once.
    """
    result = Bundle(customer)
    to_send = _ruled(entries, settings, records, result)
    if deletion := next((entry for entry in to_send if entry.kind == Kind.CUSTOMER_DELETED), None):
        return _until_deletion(deletion, to_send, settings, records, result)
    _add_facts([entry for entry in to_send if entry.kind not in STATE_KINDS], settings, records, result)
    _add_state([entry for entry in to_send if entry.kind in STATE_KINDS], settings, records, result)
    return result


def _ruled(
    entries: Sequence[OutboxEntry], settings: BrazeSettings, records: Records, result: Bundle
) -> list[OutboxEntry]:
    to_send = []
    for entry in entries:
        if reason := rules.why_skipped(entry, settings, records):
            result.skipped[entry.pk] = reason
        else:
            to_send.append(entry)
    return to_send


def _until_deletion(
    deletion: OutboxEntry, to_send: list[OutboxEntry], settings: BrazeSettings, records: Records, result: Bundle
) -> Bundle:
    """A deletion goes alone, and what came before it is pointless; what came after waits for the next round."""
    for entry in to_send:
        if entry.pk < deletion.pk:
            result.skipped[entry.pk] = "customer deleted"
    result.deletions.append(BrazeObject(result.customer, {"external_id": result.customer}, (deletion.pk,)))
    return result


# --- state: one attribute object, however many changes --------------------------------------------------


def _add_state(entries: list[OutboxEntry], settings: BrazeSettings, records: Records, result: Bundle) -> None:
    if not entries:
        return
    profile = records.profiles.get(result.customer)
    attributes = mirror.delta(profile, *_desired(entries, settings, records, result.customer))
    is_new = any(entry.kind == Kind.CUSTOMER_CREATED for entry in entries) and settings.create_customers
    if not attributes and not (is_new and not (profile and profile.is_known)):
        result.skipped |= {entry.pk: rules.NOTHING_CHANGED for entry in entries}
        return
    creates = settings.create_customers
    body = {"external_id": result.customer, **attributes}
    if not creates:
        body["_update_existing_only"] = True
    result.attributes.append(BrazeObject(result.customer, body, tuple(entry.pk for entry in entries), creates))


def _desired(
    entries: list[OutboxEntry], settings: BrazeSettings, records: Records, external_id: str
) -> tuple[dict[str, object], set[str]]:
    """What Braze should hold, and the names that must be nulled even if the mirror knows nothing of them."""
    desired: dict[str, object] = {}
    removed: set[str] = set()
    customer, held = records.customers.get(external_id), _held_names(records, external_id)
    of_customer = [entry for entry in entries if entry.kind not in AUDIENCE_KINDS]
    if customer and any(rules.sends_profile(entry.kind, settings) for entry in of_customer):
        desired |= payloads.profile_attributes(customer)
    if customer and of_customer and settings.sync_customer_tags:
        desired |= payloads.tag_attributes(customer)
        gone = {f"{payloads.TAG_PREFIX}{key}" for entry in entries for key in entry.data.get("removed_tags", ())}
        removed |= {name for name in gone | _with_prefix(held, payloads.TAG_PREFIX) if name not in desired}
    is_resync = any(entry.data.get("resync") for entry in entries)
    audiences = [entry for entry in entries if entry.kind in AUDIENCE_KINDS]
    if settings.sync_audiences and (audiences or is_resync):
        now = {payloads.audience_attribute(name) for name in records.audiences.get(external_id, ())}
        named = {payloads.audience_attribute(name) for entry in audiences for name in mentioned(entry)}
        named |= _with_prefix(held, payloads.AUDIENCE_PREFIX) if is_resync else set()
        desired |= dict.fromkeys(now, True)
        removed |= named - now
    return desired, removed


def _held_names(records: Records, external_id: str) -> set[str]:
    profile = records.profiles.get(external_id)
    return {*profile.attributes, *profile.uncertain} if profile else set()


def _with_prefix(names: set[str], prefix: str) -> set[str]:
    return {name for name in names if name.startswith(prefix)}


# --- facts: each becomes its object ---------------------------------------------------------------------


def _add_facts(entries: list[OutboxEntry], settings: BrazeSettings, records: Records, result: Bundle) -> None:
    handled: set[str] = set()
    for entry in entries:
        if entry.kind in ORDER_KINDS and entry.subject in handled:
            continue
        if not _fits(result, settings):
            return
        if entry.kind == Kind.EVENT:
            result.events.append(
                BrazeObject(result.customer, payloads.event(records.events[entry.subject]), (entry.pk,))
            )
            continue
        handled.add(entry.subject)
        of_order = [e for e in entries if e.kind in ORDER_KINDS and e.subject == entry.subject]
        if not _add_order(of_order, settings, records, result):
            return


def _fits(result: Bundle, settings: BrazeSettings) -> bool:
    return _room(result, settings, len(result.events)) > 0 and _room(result, settings, len(result.purchases)) > 0


def _room(result: Bundle, settings: BrazeSettings, in_array: int) -> int:
    """How many more objects an array takes; one place stays free for the attributes object."""
    if settings.batch_limit == "combined":
        return MAX_PER_ARRAY - 1 - len(result.events) - len(result.purchases)
    return MAX_PER_ARRAY - in_array


def _add_order(entries: list[OutboxEntry], settings: BrazeSettings, records: Records, result: Bundle) -> bool:
    """The order's purchases that were never sent, else its reversals. False where the bundle is full."""
    order = records.orders[entries[0].subject]
    known = records.purchases.get(order.order_id, [])
    ids = tuple(entry.pk for entry in entries)
    sales = _sales(order, known, was_fulfilled=any(e.data.get("status") == "FULFILLED" for e in entries))
    if not sales and _is_closed(order) and any(row.fate in UNRESOLVED for row in known if not row.is_reversal):
        result.parked |= dict.fromkeys(ids, "waits for the outcome of the order's purchases")
        return True
    rows = sales or (_reversals(order, known) if _is_closed(order) else [])
    if not rows:
        reason = "nothing to reverse: no purchase of this order was sent" if _is_closed(order) else ALREADY_SENT
        result.skipped |= dict.fromkeys(ids, reason)
        return True
    result.new_purchases += [row for row in rows if row.pk is None]
    room = _room(result, settings, len(result.purchases))
    for row in rows[:room]:
        result.purchases.append(BrazeObject(result.customer, payloads.purchase(row), ids, purchase=row))
    if len(rows) > room or (sales and _is_closed(order)):
        result.unfinished |= set(ids)
    return len(rows) < room


def _is_closed(order: Order) -> bool:
    return order.status in ("REVERSED", "CANCELLED")


def _sales(order: Order, known: list[BrazePurchase], was_fulfilled: bool) -> list[BrazePurchase]:
    """Rows taken back from a failed request, and new ones for lines that have none."""
    waiting = [row for row in known if row.fate == Fate.PENDING and not row.is_reversal]
    made = {row.line for row in known if not row.is_reversal}
    if not was_fulfilled:
        return waiting
    return waiting + [
        row for line in order.lines.all() if line.position not in made for row in payloads.sales(order, line)
    ]


def _reversals(order: Order, known: list[BrazePurchase]) -> list[BrazePurchase]:
    """The negation of each delivered row that has none yet: of what was sent, not of the lines as they are now."""
    if order.closed_at is None:
        raise ValueError(f"order {order.order_id} is not closed")
    negated = {row.purchase_id for row in known if row.is_reversal}
    new = [
        row
        for sale in known
        if not sale.is_reversal and sale.fate == Fate.DELIVERED
        for row in [payloads.reversal(sale, order.closed_at)]
        if row.purchase_id not in negated
    ]
    return [row for row in known if row.is_reversal and row.fate == Fate.PENDING] + new

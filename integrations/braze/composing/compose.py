"""From one customer's pending entries to all that this customer sends in one request. No database, no clock."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile

import orjson

from integrations.braze.composing import attributes, rules
from integrations.braze.composing.records import FACT_KINDS, ORDER_KINDS, Records
from integrations.braze.mapping import events, purchases
from integrations.braze.mapping.objects import MAX_PER_ARRAY, BrazeObject, Bundle, Entry
from integrations.braze.mapping.rows import AnyOrder, AnyPurchase
from integrations.braze.mapping.text import summed_up
from integrations.braze.models import BrazeSettings, Fate
from integrations.outbox.changes import REVERSED_STATUSES
from integrations.outbox.models import Kind

#: What one customer's facts may weigh in a request, as JSON, before the last of them: Braze takes 4 MB a body, an event
#: has at most 100 KB, and the attributes come on top.
MAX_FACT_BYTES = 3_000_000

#: A sale in one of these may still arrive, or may have: its reversal waits.
UNRESOLVED = frozenset({Fate.PENDING, Fate.BUFFERED, Fate.UNKNOWN})

ALREADY_SENT = "nothing new: this order's purchases were already sent"
NOTHING_TO_REVERSE = "nothing to reverse: no purchase of this order was sent"
ALREADY_REVERSED = "nothing new: this order's purchases were already reversed"
OF_ANOTHER = "an order of this number was customer {}'s before: its purchases stay theirs, and are not made twice"
REVERSAL_DISCARDED = "not reversed: its reversal was discarded"


def bundle(
    customer: str,
    entries: Sequence[Entry],
    settings: BrazeSettings,
    records: Records,
    now: datetime | None = None,
) -> Bundle:
    """Entries in the order of their ids. Those that no longer fit are left out: they stay pending.

    Facts keep their order, so the first that does not fit ends the bundle. State is computed now, once.
    """
    profile = records.profiles.get(customer)
    result = Bundle(customer, profile is not None and profile.is_known and profile.deleted_at is None)
    to_send = _ruled(entries, settings, records, result)
    if reason := rules.why_rejected(customer):
        result.reject((entry.pk for entry in to_send), reason)
        return result
    facts, state = [], []
    for entry in to_send:
        if entry.kind in FACT_KINDS:
            facts.append(entry)
        elif entry.kind != Kind.CUSTOMER_DELETED:
            state.append(entry)
        else:
            return _until_deletion(entry, to_send, result)
    now = now or datetime.now(UTC)
    if facts:
        _add_facts(facts, settings, records, result, now)
    if state:
        attributes.add(state, settings, records, result, now)
    return result


def _ruled(entries: Sequence[Entry], settings: BrazeSettings, records: Records, result: Bundle) -> list[Entry]:
    to_send, skipped = [], {}
    # An event that was deleted before it left, and created again under its id, has two changes, but is one event.
    last = {entry.subject: entry for entry in entries if entry.kind == Kind.EVENT} if len(entries) > 1 else {}
    for entry in entries:
        reason = rules.why_skipped(entry, settings, records)
        if not reason and entry.kind == Kind.EVENT and last.get(entry.subject, entry) is not entry:
            reason = rules.CREATED_AGAIN
        if reason:
            skipped[entry.pk] = reason
        else:
            to_send.append(entry)
    if skipped:
        result.skipped = skipped
    return to_send


def _until_deletion(deletion: Entry, to_send: list[Entry], result: Bundle) -> Bundle:
    """A deletion goes alone, and what came before it is pointless; what came after waits for the next round."""
    result.skip((entry.pk for entry in to_send if entry.pk < deletion.pk), "customer deleted")
    encoded = orjson.dumps({"external_id": result.customer})
    result.deletions.append(BrazeObject(result.customer, encoded, (deletion.pk,)))
    return result


def _add_facts(entries: list[Entry], settings: BrazeSettings, records: Records, result: Bundle, now: datetime) -> None:
    """Each at its own place, but for an order's sale, which goes whole where the first entry of it stands."""
    handled, awaited = set[int](), set[str]()
    for entry in entries:
        if entry.pk in handled:
            continue
        # What comes later of an order, a reversal after its sale, waits for the answer; and what follows waits with it.
        if _record_of(entry) in awaited or not _fits(result, settings):
            return
        if entry.kind not in ORDER_KINDS:
            encoded, adjustments = events.event(records.events[entry.subject], now)
            result.events.append(BrazeObject(result.customer, encoded, (entry.pk,), True, adjustments))
            result.fact_bytes += len(encoded)
            continue
        of_order = [e for e in entries if e.subject == entry.subject and e.kind in ORDER_KINDS]
        ids = _together(entry, of_order)
        handled.update(ids)
        if not _add_order(entry, ids, settings, records, result, now):
            return
        if result.skipped.keys().isdisjoint(ids) and result.parked.keys().isdisjoint(ids):
            awaited.add(_record_of(entry))


def _record_of(entry: Entry) -> str:
    """An order by its number: the purchases of one that was deleted are those of the one made again under it."""
    return str(entry.data.get("order_id", entry.subject)) if entry.kind in ORDER_KINDS else entry.subject


def _together(entry: Entry, of_order: list[Entry]) -> tuple[int, ...]:
    """Ids of the entries that are dealt with where this one stands: all of the sale, or those that close it as one."""
    if entry.is_of_sale:
        return tuple(e.pk for e in of_order if e.is_of_sale)
    later = of_order[of_order.index(entry) :]
    return tuple(e.pk for e in takewhile(lambda e: not e.is_of_sale, later))


def _fits(result: Bundle, settings: BrazeSettings) -> bool:
    """Whether there is room for one more of either sort."""
    if not result.fact_bytes:
        return True
    fullest = max(len(result.events), len(result.purchases))
    return _room(result, settings, fullest) > 0 and result.fact_bytes < MAX_FACT_BYTES


def _room(result: Bundle, settings: BrazeSettings, in_array: int) -> int:
    """How many more objects an array takes; one place stays free for the attributes object."""
    if settings.batch_limit == "combined":
        return MAX_PER_ARRAY - 1 - len(result.events) - len(result.purchases)
    return MAX_PER_ARRAY - in_array


def _add_order(
    entry: Entry, ids: tuple[int, ...], settings: BrazeSettings, records: Records, result: Bundle, now: datetime
) -> bool:
    """The order's purchases that were never sent, else its reversals. False where the bundle is full.

    `ids` are those of the entry and of others that are, like it, of the sale, or of the reversal.
    """
    order = records.orders.get(entry.subject) or records.gone[entry.subject]
    known = _known(entry, order, records, result.customer)
    if known and all(never_left(row) for row in known):
        result.outdated |= {row.purchase_id for row in known}
        known = []  # it is sent as it is now
    has_closing = entry.is_of_sale and records.closings.get(entry.subject, 0) > ids[-1]
    reverses = _is_closed(entry, order) and not has_closing
    rows, adjustments = _sales(order, known, result.customer, now) if entry.is_of_sale else ([], [])
    is_sale = bool(rows)
    if not is_sale and reverses:
        if any(_is_unresolved(row) for row in known if row.customer_external_id == result.customer):
            _wait_for_outcome(entry, ids, result)
            return True
        rows = _reversals(order, known, result.customer, now)
    if not rows:
        _end_without_rows(ids, known, reverses, result)
        return True
    result.new_purchases += [row for row in rows if row.pk is None]
    rows = _without_rejected(rows, ids, result)
    if is_sale and (reason := _of_another(known, result.customer)):
        result.fail(ids, reason)
    room = _add_purchases(rows, ids, adjustments, settings, result, now)
    if rows and (len(rows) > room or (is_sale and reverses)):  # it goes back to send the rest, or to reverse itself
        result.unfinished |= frozenset(ids)
    return len(rows) < room


def _known(entry: Entry, order: AnyOrder, records: Records, customer: str) -> Sequence[AnyPurchase]:
    """The purchases of the order's number; for a reversal, only the customer's own: others' are not its to negate."""
    rows = records.purchases.get(order.order_id, [])
    return rows if entry.is_of_sale else [row for row in rows if row.customer_external_id == customer]


def _is_closed(entry: Entry, order: AnyOrder) -> bool:
    """By its sale's entry, as it is now. A reversal's entry stands for itself, unless the order is fulfilled again."""
    return order.status in REVERSED_STATUSES if entry.is_of_sale else order.status != "FULFILLED"


def _end_without_rows(ids: tuple[int, ...], known: Sequence[AnyPurchase], reverses: bool, result: Bundle) -> None:
    """Nothing is left to be sent; or what there is was refused, or is somebody else's."""
    mine = [row for row in known if row.customer_external_id == result.customer]
    if reverses:
        result.skip(ids, _why_not_reversed(mine))
    elif reason := _of_another(known, result.customer) or _refused(mine):
        result.reject(ids, reason)
    else:
        result.skip(ids, ALREADY_SENT)


def _of_another(known: Sequence[AnyPurchase], customer: str) -> str:
    """In words, whose this order's purchases are, where any are another's; their ids are taken."""
    others = [row.customer_external_id for row in known if row.customer_external_id != customer]
    return OF_ANOTHER.format(others[0]) if others else ""


def _refused(mine: Sequence[AnyPurchase]) -> str:
    """Braze's words, where it has refused all there is: of an order that was made anew, no other change says so."""
    is_refused = bool(mine) and all(row.fate == Fate.REJECTED for row in mine)
    return f"line {mine[0].line}: {mine[0].error}" if is_refused else ""


def _why_not_reversed(known: Sequence[AnyPurchase]) -> str:
    fates = {row.fate for row in known if row.is_reversal}
    if not fates:
        return NOTHING_TO_REVERSE
    return REVERSAL_DISCARDED if Fate.DISCARDED in fates else ALREADY_REVERSED


def _wait_for_outcome(entry: Entry, ids: tuple[int, ...], result: Bundle) -> None:
    """A sale that reverses itself goes back once it is known to have arrived."""
    if entry.is_of_sale:
        result.skip(ids, ALREADY_SENT)
    else:
        result.park(ids, "waits for the outcome of the order's purchases")


def _add_purchases(
    rows: list[AnyPurchase],
    ids: tuple[int, ...],
    adjustments: list[str],
    settings: BrazeSettings,
    result: Bundle,
    now: datetime,
) -> int:
    """Add the rows that fit; returns for how many there was room, at least: fewer than there are where it is full."""
    room = _room(result, settings, len(result.purchases))
    for added, row in enumerate(rows[:room]):
        if result.fact_bytes >= MAX_FACT_BYTES:
            return added
        encoded, of_row = purchases.purchase(row, now)
        told = summed_up([*adjustments, *of_row])
        result.purchases.append(BrazeObject(result.customer, encoded, ids, True, told, row))
        result.fact_bytes += len(encoded)
    return room


def never_left(row: AnyPurchase) -> bool:
    """Whether it is pending, not in doubt and never settled: one that was refused may have been in doubt before."""
    return row.fate == Fate.PENDING and not row.error and row.settled_at is None


def _is_unresolved(row: AnyPurchase) -> bool:
    """Whether a reversal has to wait for this purchase.

    A pending one that never left has no entry any more that would send it: there is nothing to negate. A pending one in
    doubt is sent again: its sale was made pending after the reversal's entry was read.
    """
    never_leaves = row.fate == Fate.PENDING and not row.error
    return not row.is_reversal and row.fate in UNRESOLVED and not never_leaves


def _without_rejected(rows: list[AnyPurchase], ids: tuple[int, ...], result: Bundle) -> list[AnyPurchase]:
    """The rows that can be sent. An entry shows the worst of its rows: it ends as rejected, now or with the others."""
    sent = [row for row in rows if row.fate != Fate.REJECTED]
    if refused := next((row for row in rows if row.fate == Fate.REJECTED), None):
        end = result.fail if sent else result.reject
        end(ids, f"line {refused.line}: {refused.error}")
    return sent


def _sales(
    order: AnyOrder, known: Sequence[AnyPurchase], customer: str, now: datetime
) -> tuple[list[AnyPurchase], list[str]]:
    """Rows taken back from a failed request, and new ones for lines that have none, with their adjustments."""
    mine = [row for row in known if row.customer_external_id == customer]
    waiting: list[AnyPurchase] = [row for row in mine if row.fate == Fate.PENDING and not row.is_reversal]
    new, adjustments = purchases.sales(order, purchases.sent_of(known), now)
    return [*waiting, *new], adjustments


def _reversals(order: AnyOrder, known: Sequence[AnyPurchase], customer: str, now: datetime) -> list[AnyPurchase]:
    """The negation of each delivered row that is not negated yet: of what was sent, not of the lines as they are now.

    The purchases of somebody else, who had an order of this id before, are gone with them.
    """
    negated = {row.purchase_id: row for row in known if row.is_reversal}
    due: list[AnyPurchase] = [
        negated.get(row.purchase_id, row)
        for sale in known
        if not sale.is_reversal and sale.fate == Fate.DELIVERED and sale.customer_external_id == customer
        for row in [purchases.reversal(sale, order.closed_at or now)]
    ]
    return [row for row in due if row.fate == Fate.PENDING or _is_closed_anew(order, row)]


def _is_closed_anew(order: AnyOrder, reversal: AnyPurchase) -> bool:
    """Whether the order was closed again after somebody had discarded its reversal."""
    discarded_at = reversal.settled_at if reversal.fate == Fate.DISCARDED else None
    return order.closed_at is not None and discarded_at is not None and order.closed_at > discarded_at

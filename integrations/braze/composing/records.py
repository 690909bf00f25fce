"""Loads, in bulk, the records that a list of outbox entries is about."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import F, Func, QuerySet, TextField, Value

from integrations.braze.delivery import profiles
from integrations.braze.integration import pending_of
from integrations.braze.mapping.objects import Entry
from integrations.braze.mapping.rows import (
    AnyCustomer,
    AnyEvent,
    AnyOrder,
    CustomerName,
    CustomerRow,
    EventRows,
    LineRow,
    Lines,
    Mirrored,
    OrderRow,
    from_json,
    from_uuid,
    text_of,
)
from integrations.braze.models import BrazePurchase
from integrations.outbox.changes import REVERSED_STATUSES
from integrations.outbox.models import Kind
from integrations.outbox.prepared import Prepared
from masivo_braze.loyalty.models import Customer, Event, Membership, Order, OrderLine

AUDIENCE_KINDS = frozenset({Kind.AUDIENCE_JOINED, Kind.AUDIENCE_LEFT, Kind.AUDIENCE_RENAMED})
#: If Braze already has the customer, these do not tell which audiences to remove them from: all are looked at.
WHOLE_KINDS = frozenset({Kind.CUSTOMER_CREATED, Kind.AUDIENCE_LEFT})
ORDER_KINDS = frozenset({Kind.ORDER, Kind.ORDER_LINE})
#: Kinds whose objects do not need the customer's own record.
FACT_KINDS = ORDER_KINDS | {Kind.EVENT}

#: What `str.rstrip` strips, which the mapping uses: SQL's RTRIM by itself strips one kind of space only.
_SPACES = "".join(character for character in map(chr, range(1, 0x3001)) if character.isspace())
_STRIPPED = Func(F("audience__name"), Value(_SPACES), function="RTRIM", output_field=TextField())


def _of_customers(account_id: Any, external_ids: Any) -> "QuerySet[Customer, Any]":
    *columns, tags = CustomerRow._fields
    rows = Customer.objects.filter(account_id=account_id, external_id__among=external_ids)
    return rows.values_list(*columns, text_of(tags))


def _of_events(ids: Any) -> "QuerySet[Event, Any]":
    columns = (text_of("pk"), "type", text_of("occurred_at"), text_of("data"))
    return Event.objects.filter(pk__among=ids).values_list(*columns)


_CUSTOMERS, _EVENTS = Prepared(_of_customers), Prepared(_of_events)


#: Events that are read before it is known how large they are.
FIRST_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Records:
    """The records behind some entries, as the database has them now; customers only if their state is to be sent."""

    customers: dict[str, AnyCustomer]
    events: Mapping[str, AnyEvent]
    orders: dict[str, AnyOrder]
    purchases: dict[str, list[BrazePurchase]]  #: by order_id, in the order they were made
    audiences: dict[str, set[str]]  #: customer → names of the audiences in question that the customer is in now
    profiles: dict[str, Mirrored]
    #: Subject → id of the last pending entry that closes the order.
    closings: Mapping[str, int] = field(default_factory=dict)
    #: Orders that are no longer there, by subject, as far as their reversals need them; only those that were sold.
    gone: Mapping[str, AnyOrder] = field(default_factory=dict)


def load(account_id: int, entries: Sequence[Entry], events: Mapping[str, AnyEvent] | None = None) -> Records:
    """All that has to be known to compose these entries, in a fixed number of queries; `events`, where read already."""
    of_state = {entry.customer_external_id for entry in entries if entry.kind not in FACT_KINDS}
    of_facts = {entry.customer_external_id for entry in entries} - of_state
    orders = _orders(_subjects(entries, ORDER_KINDS))
    gone = [e for e in entries if e.kind in ORDER_KINDS and not e.is_of_sale and e.subject not in orders]
    numbers = {order.order_id for order in orders.values()} | {_number(entry) for entry in gone}
    purchases = _purchases(account_id, numbers)
    held = profiles.mirrored(account_id, of_state)
    return Records(
        customers=_customers(account_id, of_state),
        events=_events([entry for entry in entries if entry.kind == Kind.EVENT]) if events is None else events,
        orders=orders,
        purchases=purchases,
        audiences=_audiences(account_id, of_state, entries, held),
        profiles=held | profiles.standings(account_id, of_facts),
        closings=_closings(account_id, orders, entries),
        gone=_gone(account_id, gone, purchases),
    )


def _customers(account_id: int, external_ids: set[str]) -> dict[str, AnyCustomer]:
    if not external_ids:
        return {}
    values = _CUSTOMERS.rows(account_id=account_id, external_ids=external_ids)
    return {row[0]: CustomerRow._make((*row[:-1], from_json(row[-1]))) for row in values}


def events_within(entries: Sequence[Entry], most: int) -> tuple[Mapping[str, AnyEvent], int | None]:
    """The events of these entries, by subject, until their data takes `most` bytes; then the first entry left out.

    How large they are is only known when they are read: a few first, then as many as are likely to fit.
    """
    left = [entry for entry in entries if entry.kind == Kind.EVENT]
    texts: dict[str, tuple[str, str, str, CustomerName]] = {}
    size, number = 0, FIRST_EVENTS
    while left and size < most:
        read = _texts(left[:number])
        size += sum(len(data) for _, _, data, _ in read.values())
        texts |= read
        del left[:number]
        number = max(1, int((most - size) * len(texts) / size)) if size else len(left)
    return EventRows(texts), left[0].pk if left else None


def _events(entries: Sequence[Entry]) -> Mapping[str, AnyEvent]:
    return EventRows(_texts(entries))


def _texts(entries: Sequence[Entry]) -> dict[str, tuple[str, str, str, CustomerName]]:
    """By subject, as `EventRows` has them. The customer comes from the entry: an event's customer never changes.

    If it was created again, of another customer, the later entry tells whose it is.
    """
    if not entries:
        return {}
    names = {entry.subject: CustomerName(entry.customer_external_id) for entry in entries}
    texts = _EVENTS.rows(ids=map(UUID, names))
    return {(pk := from_uuid(row[0])): (*row[1:], names[pk]) for row in texts}


def _subjects(entries: Iterable[Entry], kinds: Iterable[str]) -> set[str]:
    return {entry.subject for entry in entries if entry.kind in kinds}


def _orders(ids: set[str]) -> dict[str, AnyOrder]:
    if not ids:
        return {}
    rows = Order.objects.filter(pk__among=map(int, ids)).values_list(
        *("account__currency", "currency", "customer__external_id", "pk", "account_id", "order_id", "status"),
        *("fulfilled_at", "closed_at", "channel", "store", "payment_method"),
    )
    of_order: dict[int, Lines] = defaultdict(Lines)
    orders: dict[str, AnyOrder] = {
        str(pk): OrderRow(CustomerName(customer), of_order[pk], own or usual, pk, *values)
        for usual, own, customer, pk, *values in rows
    }
    data, *columns = LineRow._fields
    lines = OrderLine.objects.filter(order__pk__among=map(int, ids)).order_by("order_id", "position")
    for order_id, *values, text in lines.values_list("order_id", *columns, text_of(data)):
        of_order[order_id].append(LineRow(from_json(text), *values))
    return orders


def _gone(
    account_id: int, closings: Sequence[Entry], purchases: Mapping[str, list[BrazePurchase]]
) -> dict[str, AnyOrder]:
    """If the customer has an order that was made again under the number, that one tells whether it is closed."""
    sold = {(row.order_id, row.customer_external_id) for rows in purchases.values() for row in rows}
    found = {e.subject: (_number(e), e.customer_external_id) for e in closings}
    found = {subject: which for subject, which in found.items() if which in sold}
    if not found:
        return {}
    again = Order.objects.filter(account_id=account_id, order_id__among={number for number, _ in found.values()})
    statuses = {
        tuple(which): status for *which, status in again.values_list("order_id", "customer__external_id", "status")
    }
    return {
        subject: OrderRow(
            CustomerName(customer), Lines(), "", int(subject), account_id, number,
            statuses.get((number, customer), "REVERSED"), None, None, "", "", "",
        )
        for subject, (number, customer) in found.items()
    }  # fmt: skip


def _number(entry: Entry) -> str:
    return str(entry.data.get("order_id", ""))


def _closings(account_id: int, orders: Mapping[str, AnyOrder], entries: Sequence[Entry]) -> dict[str, int]:
    """Read after the orders were, so that no order is seen as closed without its reversal's entry."""
    of_orders = [entry for entry in entries if entry.kind in ORDER_KINDS]
    last = {entry.subject: entry for entry in of_orders}
    found = {entry.subject: entry.pk for entry in of_orders if not entry.is_of_sale}
    sold = {subject for subject, entry in last.items() if entry.is_of_sale}
    if elsewhere := {subject for subject in sold & orders.keys() if orders[subject].status in REVERSED_STATUSES}:
        customers = {last[subject].customer_external_id for subject in elsewhere}
        rows = pending_of(account_id)
        rows = rows.filter(kind__in=ORDER_KINDS, customer_external_id__among=customers, subject__among=elsewhere)
        entries_of = (Entry.of(row) for row in rows.order_by("pk"))
        found |= {entry.subject: entry.pk for entry in entries_of if not entry.is_of_sale}
    return found


def _purchases(account_id: int, order_ids: set[str]) -> dict[str, list[BrazePurchase]]:
    by_order: dict[str, list[BrazePurchase]] = defaultdict(list)
    if order_ids:
        for row in BrazePurchase.objects.filter(account_id=account_id, order_id__among=order_ids).order_by("pk"):
            by_order[row.order_id].append(row)
    return by_order


def _audiences(
    account_id: int, external_ids: set[str], entries: Sequence[Entry], held: Mapping[str, Mirrored]
) -> dict[str, set[str]]:
    """By customer, names of audiences: all of them for customers who are sent whole, else those that the entries name.

    Braze strips spaces, so two names that differ only in these are one attribute: a customer who leaves one of the two
    audiences is still in the other, and keeps the attribute.
    """
    mine = [entry for entry in entries if entry.kind in AUDIENCE_KINDS]
    whole = {entry.customer_external_id for entry in entries if entry.data.get("resync")}
    whole |= {entry.customer_external_id for entry in entries if entry.kind in WHOLE_KINDS} & held.keys()
    others = [entry for entry in mine if entry.customer_external_id not in whole]
    members: dict[str, set[str]] = defaultdict(set)
    rows = Membership.objects.filter(audience__account_id=account_id)
    queries = [rows.filter(customer__external_id__among=whole)] if whole else []
    if others:
        theirs = rows.filter(customer__external_id__among=external_ids - whole)
        names = {name.rstrip() for entry in others for name in mentioned(entry)}
        queries.append(theirs.annotate(stripped=_STRIPPED).filter(stripped__in=names))
        queries.append(theirs.filter(audience_id__in={entry.subject for entry in others if entry.subject}))
    for query in queries:
        for external_id, name in query.values_list("customer__external_id", "audience__name"):
            members[external_id].add(name)
    return members


def mentioned(entry: Entry) -> set[str]:
    """The audience names in an entry, old and new."""
    return {name for key in ("name", "old_name") if (name := entry.data.get(key))}

"""From records to rows, a batch of records in a transaction."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, count
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, transaction

from masivo_braze.deadlocks import through_deadlocks
from masivo_braze.loyalty.importing.records import (
    AudienceRecord,
    CustomerRecord,
    EventRecord,
    ImportRecord,
    OrderRecord,
)
from masivo_braze.loyalty.importing.upsert import Wanted, upsert
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

#: (line number, reason)
Report = Callable[[int, str], None]
#: {"customers": {"created": 2, "changed": 0, "unchanged": 1}, …}
Counts = dict[str, Counter[str]]
Kind = TypeVar("Kind", CustomerRecord, EventRecord, OrderRecord, AudienceRecord)
OfCustomer = TypeVar("OfCustomer", EventRecord, OrderRecord)

SHOWN_IDS = 5


def apply_records(
    account: Account, records: Sequence[ImportRecord], report: Report, counted: set[str] | None = None
) -> Counts:
    """Apply the records in one transaction; where one of them cannot be, in several, without it.

    `report` is called for each record that was left out, once that is committed. `counted` are the customers that
    orders before these have made, of the same file: they are not counted again, and these orders' own are added.
    """
    counted = set() if counted is None else counted
    try:
        batch = through_deadlocks(lambda: _applied(account, records, counted))
    except (ValidationError, IntegrityError, DataError, ValueError, ArithmeticError) as error:
        if len(records) == 1:
            report(records[0].number, reason_of(error))
            return {}
        half = len(records) // 2
        parts = [apply_records(account, part, report, counted) for part in (records[:half], records[half:])]
        return add_counts(parts)
    counted |= batch.made
    for number, reason in sorted(batch.bad):
        report(number, reason)
    return batch.counts


def _applied(account: Account, records: Sequence[ImportRecord], counted: AbstractSet[str]) -> "Batch":
    batch = Batch(account, counted)
    with transaction.atomic():
        batch.apply(records)
    return batch


def add_counts(parts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for part in parts:
        for kind, counts in part.items():
            total.setdefault(kind, Counter()).update(counts)
    return total


class Batch:
    """One transaction's worth of records. Customers first: what else a line says may refer to an earlier one."""

    def __init__(self, account: Account, counted: AbstractSet[str]) -> None:
        self.account = account
        self.counts: Counts = {}
        self.made: set[str] = set()
        self.bad: list[tuple[int, str]] = []
        self._customers: dict[str, Customer] = {}
        self._since: dict[str, int] = {}
        self._counted = counted

    def apply(self, records: Sequence[ImportRecord]) -> None:
        self._apply_customers(records)
        self._apply_events(_of(EventRecord, records))
        self._apply_orders(_of(OrderRecord, records))
        for record in _of(AudienceRecord, records):
            self._apply_audience(record)

    def _apply_customers(self, records: Sequence[ImportRecord]) -> None:
        wanted = []
        for record in records:
            if isinstance(record, CustomerRecord):
                wanted.append(self._wanted_customer(record.external_id, record.values))
                self._since.setdefault(record.external_id, record.number)
            elif isinstance(record, OrderRecord) and record.makes_customer:
                wanted.append(self._wanted_customer(record.customer, {}))
                self.made.add(record.customer)
                self._since.setdefault(record.customer, record.number)
        mentioned = {want.key for want in wanted}
        mentioned.update(record.customer for record in records if isinstance(record, EventRecord | OrderRecord))
        stored = Customer.objects.filter(account=self.account, external_id__in=mentioned)
        existing = {customer.external_id: customer for customer in stored.select_for_update(no_key=True).order_by("pk")}
        for external_id in existing:
            self._since[external_id] = 0
        upserted = upsert(Customer.objects.all(), existing, wanted)
        self._customers = upserted.rows
        upserted.counts["unchanged"] -= len(self.made & self._counted)
        self._count("customers", upserted.counts)

    def _wanted_customer(self, external_id: str, values: dict[str, Any]) -> Wanted:
        return Wanted(external_id, {"account": self.account, "external_id": external_id}, values)

    def _apply_events(self, records: list[EventRecord]) -> None:
        stored = Event.objects.filter(pk__in=[record.id for record in records]).order_by("pk")
        existing = {event.pk: event for event in stored.select_for_update(no_key=True)}
        wanted = []
        for record in self._with_customers(records):
            if record.id in existing and existing[record.id].account_id != self.account.pk:
                self.bad.append((record.number, f"event {record.id} belongs to another account"))
                continue
            values = {"customer_id": self._customers[record.customer].pk, **record.values}
            wanted.append(Wanted(record.id, {"account": self.account, "id": record.id}, values))
        self._count("events", upsert(Event.objects.all(), existing, wanted).counts)

    def _apply_orders(self, records: list[OrderRecord]) -> None:
        records = self._with_customers(records)
        stored = Order.objects.filter(account=self.account, order_id__in=[record.order_id for record in records])
        existing = {order.order_id: order for order in stored.select_for_update(no_key=True).order_by("pk")}
        wanted = [
            Wanted(
                record.order_id,
                {"account": self.account, "order_id": record.order_id},
                {"customer_id": self._customers[record.customer].pk, **record.values},
            )
            for record in records
        ]
        upserted = upsert(Order.objects.all(), existing, wanted)
        self._count("orders", upserted.counts)
        self._apply_lines({upserted.rows[r.order_id]: r for r in records if r.lines is not None})

    def _apply_lines(self, records: dict[Order, OrderRecord]) -> None:
        """Orders have exactly these lines: those the file no longer has are deleted."""
        stored = OrderLine.objects.filter(order__in=[order.pk for order in records])
        existing = {(line.order_id, line.position): line for line in stored}
        taken: dict[int, list[int]] = defaultdict(list)
        for order_id, position in sorted(existing):
            taken[order_id].append(position)
        wanted = [
            Wanted((order.pk, line["position"]), {"order_id": order.pk}, line)
            for order, record in records.items()
            for line in _placed(record, order, taken[order.pk])
        ]
        if surplus := [existing[key].pk for key in existing.keys() - {want.key for want in wanted}]:
            OrderLine.objects.filter(pk__in=surplus).delete()
        self._count("order lines", upsert(OrderLine.objects.all(), existing, wanted).counts)

    def _apply_audience(self, record: AudienceRecord) -> None:
        which = {"audience_id": record.audience_id} if record.audience_id else {"name": record.name}
        stored = Audience.objects.filter(account=self.account, **which).select_for_update(no_key=True).first()
        values = {"name": record.name} if record.audience_id else {}
        wanted = Wanted("this", {"account": self.account, **which}, values)
        with transaction.atomic():
            upserted = upsert(Audience.objects.all(), {"this": stored} if stored else {}, [wanted])
            result = upserted.rows["this"].recalculate(record.customers) if record.customers is not None else None
            transaction.set_rollback(bool(result and result.unknown))
        if result and result.unknown:
            self.bad.append((record.number, f"no such customers: {_some(result.unknown)}"))
            return
        self._count("audiences", upserted.counts)
        if result:
            self._count("memberships", Counter(created=result.joined, removed=result.left))

    def _with_customers(self, records: Sequence[OfCustomer]) -> list[OfCustomer]:
        """The records whose customer was there before their line; the others are bad."""
        known = []
        for record in records:
            if self._since.get(record.customer, record.number + 1) <= record.number:
                known.append(record)
            else:
                self.bad.append((record.number, f"no such customer: {record.customer}"))
        return known

    def _count(self, kind: str, counts: Counter[str]) -> None:
        if counts.total():
            self.counts = add_counts([self.counts, {kind: counts}])


def _placed(record: OrderRecord, order: Order, taken: Sequence[int]) -> Sequence[dict[str, Any]]:
    """The record's lines. Without positions of their own, they are those stored (at `taken`), in order, and new ones.

    New ones come after all that there ever were: what has a deleted line's position would be taken for that line.
    """
    lines = record.lines or ()
    if record.is_placed:
        return lines
    new = count(max([order.last_position, *taken]) + 1)
    return [{**line, "position": position} for line, position in zip(lines, chain(taken, new), strict=False)]


def _of(kind: type[Kind], records: Sequence[ImportRecord]) -> list[Kind]:
    return [record for record in records if isinstance(record, kind)]


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
    return ", ".join(ids[:SHOWN_IDS]) + more


def reason_of(error: Exception) -> str:
    """In one line, each field's name before what is wrong with it."""
    if not isinstance(error, ValidationError):
        return str(error).strip()
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        message if name == "__all__" else f"{name}: {message}"
        for name, messages in error.message_dict.items()
        for message in messages
    )

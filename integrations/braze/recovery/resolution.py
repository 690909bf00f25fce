"""Carries out a person's decisions about changes that Braze refused, or whose outcome is unknown.

Every decision leaves its reason on the entry. A purchase's fate is that of its own row: sending an order again touches
only rows that were refused or are unknown, never those that Braze accepted. The entries of one order share its
purchases, so a decision about one of them is a decision about all that still wait for one; except that a sale which
arrived says nothing about its reversal.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable

from django.db import transaction
from django.db.models import Q, QuerySet

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.delivery import settlement
from integrations.braze.integration import NAME
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Fate
from integrations.outbox import capture, nudge
from integrations.outbox.capture import Change
from integrations.outbox.changes import REVERSED_STATUSES
from integrations.outbox.clock import database_now
from integrations.outbox.models import OPEN, Kind, OutboxEntry, Status, Topic
from masivo_braze.loyalty.models import Customer, Order

#: Fates of purchases that wait for a person.
OPEN_FATES = (Fate.REJECTED, Fate.UNKNOWN)


@transaction.atomic
def send_again(entries: "QuerySet[OutboxEntry]") -> list[OutboxEntry]:
    """Make refused and unknown entries pending again; returns them. Those in doubt may arrive twice.

    Order lines of which Braze accepted nothing are mapped anew, from the order as it is now. The deletion of a customer
    who exists again is not repeated, but skipped.
    """
    locked = _locked(entries)
    back = _came_back(locked)
    skipped = {entry.pk for entry in back}
    _update(back, status=Status.SKIPPED, error="the customer exists again", settled_at=database_now())
    chosen = [entry for entry in locked if entry.pk not in skipped]
    _follow_orders_made_again(chosen)
    _forget_refused_lines(chosen)
    for account_id, theirs in _by_account(chosen).items():
        customers = {entry.customer_external_id for entry in theirs}
        BrazeProfile.objects.filter(account_id=account_id, external_id__in=customers).update(refused={})
    # Purchases in doubt keep their reason: it marks them as possibly arrived.
    _purchases(chosen, (Fate.REJECTED,)).update(error="")
    # `settled_at` stays: it tells them from purchases never sent.
    _purchases(chosen, OPEN_FATES).update(fate=Fate.PENDING, delivery_id=None)
    # A reversal may have been refused while it was parked: without a time, a parked entry is never looked at again.
    free = {"batch": None, "due_at": None, "parked": False}
    back_to = {"status": Status.PENDING, "worst": "", "settled_at": None, **free}
    # An event in doubt keeps its reason, too.
    _update([entry for entry in chosen if _is_doubtful_event(entry)], **back_to)
    _update([entry for entry in chosen if not _is_doubtful_event(entry)], **back_to, error="")
    _wake(chosen)
    return chosen


def _is_doubtful_event(entry: OutboxEntry) -> bool:
    return entry.kind == Kind.EVENT and entry.status == Status.UNKNOWN


def _came_back(entries: Collection[OutboxEntry]) -> list[OutboxEntry]:
    deletions = [entry for entry in entries if entry.kind == Kind.CUSTOMER_DELETED]
    back: list[OutboxEntry] = []
    for account_id, theirs in _by_account(deletions).items():
        names = {entry.customer_external_id for entry in theirs}
        there = Customer.objects.filter(account_id=account_id, external_id__in=names)
        existing = set(there.values_list("external_id", flat=True))
        back += [entry for entry in theirs if entry.customer_external_id in existing]
    return back


def _follow_orders_made_again(chosen: Collection[OutboxEntry]) -> None:
    """Let the changes of an order that was deleted and made again, under its number, speak of the one that is there."""
    of_orders = [entry for entry in chosen if entry.kind in ORDER_KINDS]
    there = set(Order.objects.filter(pk__in={int(e.subject) for e in of_orders}).values_list("pk", flat=True))
    for entry in of_orders:
        if int(entry.subject) not in there:
            again = Order.objects.filter(account_id=entry.account_id, order_id=entry.data.get("order_id", ""))
            again = again.filter(customer__external_id=entry.customer_external_id)
            if pk := again.values_list("pk", flat=True).first():
                _update([entry], subject=str(pk))


def _forget_refused_lines(chosen: Collection[OutboxEntry]) -> None:
    """Delete the rows of lines of which Braze accepted nothing: unchanged, they would only be refused again."""
    refused = {_line(row) for row in _purchases(chosen, (Fate.REJECTED,)) if not row.is_reversal}
    orders: dict[int, set[str]] = defaultdict(set)
    for account_id, order_id, _ in refused:
        orders[account_id].add(order_id)
    fates: dict[object, dict[int, str]] = defaultdict(dict)
    for account_id, theirs in orders.items():
        for row in BrazePurchase.objects.filter(account_id=account_id, order_id__in=theirs).defer("properties"):
            fates[_line(row)][row.pk] = row.fate
    wholly = [fates[line] for line in refused if set(fates[line].values()) == {Fate.REJECTED}]
    BrazePurchase.objects.filter(pk__in=[pk for each in wholly for pk in each]).delete()


def _line(row: BrazePurchase) -> tuple[int, str, int]:
    return row.account_id, row.order_id, row.line


@transaction.atomic
def treat_as_delivered(
    entries: "QuerySet[OutboxEntry]", by: str, not_arrived: Collection[int] = ()
) -> list[OutboxEntry]:
    """Settle entries in doubt as delivered, because somebody has seen them in Braze; returns those settled.

    Reversals that waited for them may now be sent. `not_arrived` has the ids of purchase rows that did not arrive: they
    stay in doubt, and so do the entries that show them. What Braze refused cannot have arrived, so an order that also
    has refused purchases stays rejected. That a sale arrived says nothing about a reversal that is in doubt as well:
    the reversal's own entry must be among `entries`.
    """
    named, now = set(entries.values_list("pk", flat=True)), database_now()
    words = f"treated as delivered by {by}"
    locked = _locked(entries)
    apart = _apart(locked, named)
    doubted = _doubtful(locked) - {entry.pk for entry in apart}
    rows = _in_doubt(locked, apart)
    left = list(rows.filter(pk__in=not_arrived))
    rows.exclude(pk__in=not_arrived).update(fate=Fate.DELIVERED, error=words, settled_at=now)
    in_part = _shown(left, locked)
    chosen = [entry for entry in locked if entry.pk in doubted and entry.pk not in in_part]
    refused = _shown(_purchases(chosen, (Fate.REJECTED,)), locked)
    whole = [entry for entry in chosen if entry.pk not in refused]
    _update(whole, status=Status.DELIVERED, error=words, settled_at=now)
    by_reason: dict[str, list[OutboxEntry]] = defaultdict(list)
    for entry in chosen:
        if entry.pk in refused:
            by_reason[refused[entry.pk]].append(entry)
    for reason, partly in by_reason.items():
        _update(partly, status=Status.REJECTED, worst=Status.REJECTED, error=reason)
    _let_be_reversed(chosen, refused)
    _capture_closings([entry for entry in locked if entry.pk in in_part])
    _wake(chosen)
    return chosen


def _shown(rows: Iterable[BrazePurchase], locked: Collection[OutboxEntry]) -> dict[int, str]:
    """By entry, the reason of one of these purchases of its order; the entry of a reversal, if any, shows reversals."""
    shown_elsewhere = {_order_of(entry) for entry in locked if _is_reversal(entry)}
    by_order: dict[object, list[BrazePurchase]] = defaultdict(list)
    for row in rows:
        by_order[row.account_id, row.order_id].append(row)
    return {
        entry.pk: row.error
        for entry in locked
        for row in by_order.get(_order_of(entry), ())
        if not row.is_reversal or _is_reversal(entry) or _order_of(entry) not in shown_elsewhere
    }


def _is_reversal(entry: OutboxEntry) -> bool:
    return entry.kind in ORDER_KINDS and not Entry.of(entry).is_of_sale


def _let_be_reversed(chosen: Collection[OutboxEntry], refused: Collection[int]) -> None:
    """Let sales of closed orders reverse themselves, if no reversal will come, or it found nothing to negate.

    Their entries become pending again, as they would have if the answer had not been lost. Those that are `refused` in
    part end as rejected after that.
    """
    back = _closed_unseen(chosen)
    to = {"status": Status.PENDING, "batch": None, "settled_at": None}
    _update([entry for entry in back if entry.pk in refused], **to)
    _update([entry for entry in back if entry.pk not in refused], **to, worst="")


def _capture_closings(in_part: Collection[OutboxEntry]) -> None:
    """The same for entries that stay in doubt: a newly captured change reverses what has arrived."""
    orders = {(e.account_id, e.customer_external_id, e.subject): e.data["order_id"] for e in _closed_unseen(in_part)}
    for (account_id, customer, subject), order_id in orders.items():
        data = {"order_id": order_id, "status": "REVERSED"}
        capture.record([Change(account_id, Kind.ORDER, customer, (Topic.ORDERS,), subject, data)])


def _closed_unseen(chosen: Collection[OutboxEntry]) -> list[OutboxEntry]:
    """Sales with purchases to be negated, of orders that are closed, and that no pending entry will negate."""
    sales = [entry for entry in chosen if entry.kind in ORDER_KINDS and not _is_reversal(entry)]
    closed = Order.objects.filter(pk__in={int(entry.subject) for entry in sales}, status__in=REVERSED_STATUSES)
    due = {str(pk) for pk in closed.values_list("pk", flat=True)}
    waiting = OutboxEntry.objects.filter(
        integration=NAME, status=Status.PENDING, kind__in=ORDER_KINDS, subject__in=due,
        account_id__in={entry.account_id for entry in sales},
        customer_external_id__in={entry.customer_external_id for entry in sales},
    )  # fmt: skip
    due -= set(waiting.values_list("subject", flat=True))
    open_sales = _not_negated(sales)
    return [entry for entry in sales if entry.subject in due and _order_of(entry) in open_sales]


def _not_negated(sales: Collection[OutboxEntry]) -> set[tuple[int, str]]:
    """(account, order id) of orders with a delivered purchase without a reversal, in accounts that send purchases."""
    rows = list(_purchases(sales, list(Fate)))
    negated = {_sold(row) for row in rows if row.is_reversal}
    off = BrazeSettings.objects.filter(account_id__in={entry.account_id for entry in sales}, sync_purchases=False)
    silent = set(off.values_list("account_id", flat=True))
    return {
        (row.account_id, row.order_id)
        for row in rows
        if not row.is_reversal
        and row.fate == Fate.DELIVERED
        and row.account_id not in silent
        and _sold(row) not in negated
    }


def _sold(row: BrazePurchase) -> tuple[int, str, int, int]:
    """A key that a sale and its reversal have in common."""
    return row.account_id, row.order_id, row.line, row.part


@transaction.atomic
def discard(entries: "QuerySet[OutboxEntry]", by: str, reason: str) -> list[OutboxEntry]:
    """Give up on refused and unknown entries, with a reason that stays; returns them."""
    chosen, now = _locked(entries), database_now()
    words = f"discarded by {by}: {reason}"
    _purchases(chosen, OPEN_FATES).update(fate=Fate.DISCARDED, error=words, settled_at=now)
    _update(chosen, status=Status.DISCARDED, error=words, settled_at=now)
    _wake(chosen)
    return chosen


@transaction.atomic
def in_doubt(entries: "QuerySet[OutboxEntry]") -> "QuerySet[BrazePurchase]":
    """The purchase rows that `treat_as_delivered` would settle as delivered."""
    named = set(entries.values_list("pk", flat=True))
    locked = _locked(entries)
    return _in_doubt(locked, _apart(locked, named)).order_by("pk")


def _apart(locked: Collection[OutboxEntry], named: Collection[int]) -> list[OutboxEntry]:
    """Reversals among the locked entries that the person did not choose themselves."""
    return [entry for entry in locked if _is_reversal(entry) and entry.pk not in named]


def _in_doubt(locked: Collection[OutboxEntry], apart: Collection[OutboxEntry]) -> "QuerySet[BrazePurchase]":
    left_out = {entry.pk for entry in apart}
    chosen = [entry for entry in locked if entry.pk not in left_out]
    reversals = _purchases(apart, (Fate.UNKNOWN,)).filter(is_reversal=True)
    return _purchases(chosen, (Fate.UNKNOWN,)).exclude(pk__in=list(reversals.values_list("pk", flat=True)))


def doubtful(entries: "QuerySet[OutboxEntry]") -> set[int]:
    """Ids of entries that may have arrived, in whole or in part: sent again, they may arrive twice."""
    return _doubtful(list(entries))


def purchases_of(entry: OutboxEntry, fates: Collection[str] = OPEN_FATES) -> "QuerySet[BrazePurchase]":
    """The purchase rows whose fate an entry of an order shows; none for any other entry."""
    return _purchases([entry], fates)


def _doubtful(entries: Collection[OutboxEntry]) -> set[int]:
    rows = _purchases(entries, (Fate.UNKNOWN,))
    in_part = {(account_id, order_id) for account_id, order_id in rows.values_list("account_id", "order_id")}
    return {entry.pk for entry in entries if entry.status == Status.UNKNOWN or _order_of(entry) in in_part}


def _locked(entries: "QuerySet[OutboxEntry]") -> list[OutboxEntry]:
    """The entries that still wait for a person, with all others of the same orders that do, locked.

    Buffered entries of these orders are locked, too, so that none of their purchases is settled meanwhile.
    """
    named = list(entries.filter(integration=NAME, status__in=OPEN))
    wanted = Q(pk__in=[entry.pk for entry in named])
    for account_id, theirs in _by_account([entry for entry in named if entry.kind in ORDER_KINDS]).items():
        wanted |= Q(
            account_id=account_id,
            customer_external_id__in={entry.customer_external_id for entry in theirs},
            kind__in=ORDER_KINDS,
            subject__in={entry.subject for entry in theirs},
        )
    waiting = OutboxEntry.objects.filter(wanted, integration=NAME, status__in=(*OPEN, Status.BUFFERED))
    return [entry for entry in waiting.order_by("pk").select_for_update() if entry.status in OPEN]


def _by_account(entries: "Collection[OutboxEntry] | QuerySet[OutboxEntry]") -> dict[int, list[OutboxEntry]]:
    """Grouped, because ids of customers and orders are unique within an account only."""
    found: dict[int, list[OutboxEntry]] = defaultdict(list)
    for entry in entries:
        found[entry.account_id].append(entry)
    return found


def _order_of(entry: OutboxEntry) -> tuple[int, str] | None:
    return (entry.account_id, entry.data.get("order_id", "")) if entry.kind in ORDER_KINDS else None


def _purchases(chosen: Collection[OutboxEntry], fates: Collection[str]) -> "QuerySet[BrazePurchase]":
    wanted = Q(pk__in=[])
    for account_id, theirs in _by_account([entry for entry in chosen if entry.kind in ORDER_KINDS]).items():
        wanted |= Q(
            account_id=account_id,
            order_id__in={entry.data.get("order_id", "") for entry in theirs},
            customer_external_id__in={entry.customer_external_id for entry in theirs},
        )
    return BrazePurchase.objects.filter(wanted, fate__in=fates)


def _update(entries: Collection[OutboxEntry], **changes: object) -> None:
    OutboxEntry.objects.filter(pk__in=[entry.pk for entry in entries]).update(**changes)


def _wake(chosen: Collection[OutboxEntry]) -> None:
    """Nudge the relays, and let reversals that waited for these purchases go on."""
    for account_id, theirs in _by_account(chosen).items():
        settlement.unpark(account_id, {entry.customer_external_id for entry in theirs})
        nudge.after_commit({account_id})

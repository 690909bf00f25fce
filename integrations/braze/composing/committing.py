"""The relay's commit of a round: writes the requests to the ledger and moves the entries, all or nothing."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, TextField, Value, When

from integrations.braze.composing import packing
from integrations.braze.composing.records import FACT_KINDS, ORDER_KINDS
from integrations.braze.composing.rounds import Composed
from integrations.braze.composing.waiting import PARKED
from integrations.braze.delivery import commits
from integrations.braze.delivery.commits import Counted
from integrations.braze.integration import entries_of
from integrations.braze.mapping.objects import Bundle, Entry
from integrations.braze.models import BrazePurchase, Delivery, Fate
from integrations.outbox import bulk, capture, transitions
from integrations.outbox.clock import database_now
from integrations.outbox.lease import Held
from integrations.outbox.models import OPEN, OutboxEntry, Status
from integrations.outbox.prepared import Prepared

logger = logging.getLogger(__name__)

NEVER_SENT = "not sent: the rest of its order waits for a decision"


class Overtaken(Exception):
    """Entries changed while their requests were composed (for example, a customer was deleted): compose them anew."""


class Committed(NamedTuple):
    """The new requests, the commit counter, which Redis is to be told, and how many changes were moved: into these
    requests, or to an end without one."""

    deliveries: list[Delivery]
    counted: Counted
    moved: int


def commit(account_id: int, held: Held, composed: Composed) -> Committed:
    """Write what a round comes to, in one transaction that confirms the lease.

    Raises `LeaseLost` and `Overtaken`, and the database's own errors; nothing is written then.
    """
    round, bundles, drafts = composed.round, composed.bundles, composed.drafts
    with transaction.atomic():
        held.confirm()
        waiting = round.waiting
        if locked_out := _locked_out(round.by_customer):
            bundles = [bundle for bundle in bundles if bundle.customer not in locked_out]
            drafts = packing.pack(bundles, round.settings.batch_limit)
            waiting = {customer: due for customer, due in waiting.items() if customer not in locked_out}
        _save_purchases(account_id, bundles, drafts)
        deliveries = _requests(drafts, account_id, round.now)
        bulk.insert(Delivery, deliveries)
        moved = _move_entries(account_id, bundles, drafts, round.now)
        _note_adjustments(drafts)
        _wait(round.by_customer, waiting)
        _discard_purchases(account_id, bundles)
        counted = commits.count_commit(account_id)
    return Committed(deliveries, counted, moved)


def _still_pending(ids: Any) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(pk__among=ids, status__unindexed=Status.PENDING)


_FREE = Prepared(lambda ids: _still_pending(ids).select_for_update(skip_locked=True).values_list("pk"))


def _locked_out(by_customer: dict[str, list[Entry]]) -> set[str]:
    """Customers with an entry that another transaction has locked (to delete the customer, say): only these wait.

    Waiting for that lock, while holding locks, would hold up the account, and could deadlock with that transaction.
    """
    entries = list(chain.from_iterable(by_customer.values()))
    ids = [entry.pk for entry in entries]
    free = {pk for (pk,) in _FREE.rows(ids=ids)}
    if len(free) == len(entries):
        return set()
    if _still_pending(ids).count() != len(entries):
        raise Overtaken
    return {entry.customer_external_id for entry in entries if entry.pk not in free}


def _requests(drafts: Sequence[packing.Draft], account_id: int, now: datetime) -> list[Delivery]:
    requests = [packing.delivery(draft, account_id) for draft in drafts]
    for request in requests:
        request.created_at = now
    return requests


def _save_purchases(account_id: int, bundles: Sequence[Bundle], drafts: Sequence[packing.Draft]) -> None:
    """Write the purchases of these requests; new rows get the primary keys that the requests' manifests name.

    Raises `Overtaken` if rows that were to be made anew have changed.
    """
    if outdated := {purchase_id for bundle in bundles for purchase_id in bundle.outdated}:
        rows = BrazePurchase.objects.filter(account_id=account_id, purchase_id__among=outdated, fate=Fate.PENDING)
        if rows.filter(error="", settled_at=None).delete()[0] != len(outdated):
            raise Overtaken
    again: dict[UUID, list[int]] = defaultdict(list)
    for draft in drafts:
        for item in draft.purchases:
            assert item.purchase is not None
            item.purchase.fate, item.purchase.delivery_id = Fate.BUFFERED, draft.id
            if item.purchase.pk:
                again[draft.id].append(item.purchase.pk)
    bulk.insert(BrazePurchase, [row for bundle in bundles for row in bundle.new_purchases], with_keys=True)
    for request, ids in again.items():
        BrazePurchase.objects.filter(pk__among=ids).update(fate=Fate.BUFFERED, delivery_id=request)


def _move_entries(account_id: int, bundles: Sequence[Bundle], drafts: Sequence[packing.Draft], now: datetime) -> int:
    requests = {pk: draft.id for draft in drafts for pk in draft.entries()}
    if transitions.buffer(requests) != len(requests):
        raise Overtaken
    by_reason: dict[str, set[int]] = defaultdict(set)
    parked: dict[str, set[int]] = defaultdict(set)
    for bundle in bundles:
        for pk, reason in bundle.skipped.items():
            by_reason[reason].add(pk)
        for pk, reason in bundle.parked.items():
            parked[reason].add(pk)
    _skip(account_id, by_reason, now)
    for reason, ids in parked.items():
        _move(ids, parked=True, error=reason, due_at=now + PARKED)
    return len(requests) + sum(map(len, by_reason.values())) + _reject(bundles, now)


def _skip(account_id: int, by_reason: Mapping[str, set[int]], now: datetime) -> None:
    """Skip entries, by the rule that skips them. What may have arrived, and was to be sent again, is held as unknown.

    A person has to look at that, and a later reversal has to know what there may be to negate.
    """
    skipped = OutboxEntry.objects.filter(pk__among=set().union(*by_reason.values()), kind__in=FACT_KINDS)
    columns = ("pk", "kind", "customer_external_id", "data", "error")
    facts = list(skipped.values_list(*columns)) if by_reason else []
    for reason, ids in by_reason.items():
        # If a part was refused or is in doubt, that status and its reason win over the rule that skips the rest.
        by_worst = Case(When(worst="", then=Value(Status.SKIPPED.value)), default=F("worst"))
        words = Case(When(worst="", then=Value(reason)), default=F("error"), output_field=TextField())
        _move(ids, status=by_worst, error=words, settled_at=now)
    by_order: dict[tuple[str, str], list[int]] = defaultdict(list)
    for pk, kind, customer, data, doubt in facts:
        if kind in ORDER_KINDS:
            by_order[customer, data.get("order_id", "")].append(pk)
        elif doubt:
            OutboxEntry.objects.filter(pk=pk).update(status=Status.UNKNOWN, error=doubt)
    _hold_orders_in_doubt(account_id, by_order, now)
    _end_the_rest(account_id, by_order, now)


def _hold_orders_in_doubt(account_id: int, by_order: Mapping[tuple[str, str], list[int]], now: datetime) -> None:
    """Hold purchases that may have arrived, and the skipped entries of their orders, given by (customer, order id)."""
    customers = {customer for customer, _ in by_order}
    rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__among=customers, fate=Fate.PENDING)
    for row in rows.exclude(error="") if customers else ():
        if ids := by_order.get((row.customer_external_id, row.order_id)):
            BrazePurchase.objects.filter(pk=row.pk).update(fate=Fate.UNKNOWN, settled_at=now)
            OutboxEntry.objects.filter(pk__in=ids).update(status=Status.UNKNOWN, error=row.error)
    # A doubt that no other entry shows (the order was deleted and created again) is shown by the skipped entries.
    doubted = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__among=customers)
    for row in doubted.filter(fate=Fate.UNKNOWN) if customers else ():
        key = (row.customer_external_id, row.order_id)
        theirs = entries_of(account_id).filter(kind__in=ORDER_KINDS)
        theirs = theirs.filter(customer_external_id=key[0], data__order_id=key[1])
        if key in by_order and not theirs.filter(status__in=OPEN).exists():
            OutboxEntry.objects.filter(pk__in=by_order[key]).update(status=Status.UNKNOWN, error=row.error)


def _end_the_rest(account_id: int, by_order: Mapping[tuple[str, str], list[int]], now: datetime) -> None:
    """Of skipped orders that wait for a decision, what never left waits for it, too: no edit may send it after that."""
    ids = [pk for pks in by_order.values() for pk in pks]
    waiting = OutboxEntry.objects.filter(pk__among=ids, status__in=OPEN)
    open_ids = set(waiting.values_list("pk", flat=True)) if ids else set()
    for (customer, order_id), pks in by_order.items() if open_ids else ():
        if not open_ids.isdisjoint(pks):
            rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id=customer, order_id=order_id)
            rows.filter(fate=Fate.PENDING, error="").update(fate=Fate.REJECTED, error=NEVER_SENT, settled_at=now)


def _reject(bundles: Sequence[Bundle], now: datetime) -> int:
    """Reject what Braze would refuse, and log it like Braze's own refusals; returns how many entries ended by it.

    One by one, because these are rare.
    """
    failed = {pk: reason for bundle in bundles for pk, reason in bundle.failed.items()}
    rejected = {pk: reason for bundle in bundles for pk, reason in bundle.rejected.items()}
    if not failed and not rejected:
        return 0
    for pk, reason in failed.items():
        OutboxEntry.objects.filter(pk=pk).update(worst=Status.REJECTED, error=reason)
    for pk, reason in rejected.items():
        _move({pk}, status=Status.REJECTED, error=reason, settled_at=now)
    _end_purchases(rejected, now)
    for entry in OutboxEntry.objects.filter(pk__among=failed.keys() | rejected.keys()):
        words = "sync failed: account=%s kind=%s entry=%s, not sent, reason=%s"
        logger.warning(words, entry.account_id, entry.kind, entry.pk, entry.error)
    return len(rejected)


def _end_purchases(rejected: Mapping[int, str], now: datetime) -> None:
    """Purchases of rejected orders that wait to be sent: rejected too, or unknown if they may have arrived."""
    orders = OutboxEntry.objects.filter(pk__among=list(rejected), kind__in=ORDER_KINDS)
    for account_id, customer, data, pk in orders.values_list("account_id", "customer_external_id", "data", "pk"):
        rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id=customer)
        rows = rows.filter(order_id=data.get("order_id", ""), fate=Fate.PENDING)
        rows.filter(error="").update(fate=Fate.REJECTED, error=rejected[pk], settled_at=now)
        rows.update(fate=Fate.UNKNOWN, settled_at=now)


def _note_adjustments(drafts: Sequence[packing.Draft]) -> None:
    """Write the adjustments to the entries; one by one, because these are few."""
    for draft in drafts:
        for item in (*draft.attributes, *draft.events, *draft.purchases):
            if item.adjustments:
                OutboxEntry.objects.filter(pk__among=item.entries).update(adjustments=list(item.adjustments))


def _move(ids: set[int], **changes: object) -> None:
    """Change pending entries; raises `Overtaken`, which undoes the commit, if any of them is no longer pending."""
    if OutboxEntry.objects.filter(pk__among=ids, status__unindexed=Status.PENDING).update(**changes) != len(ids):
        raise Overtaken


def _wait(by_customer: dict[str, list[Entry]], waiting: dict[str, datetime]) -> None:
    for customer, due in waiting.items():
        _move({entry.pk for entry in by_customer[customer]}, due_at=due)


def _discard_purchases(account_id: int, bundles: Sequence[Bundle]) -> None:
    """Delete the purchases of deleted customers that never left: there will be nothing to negate.

    Those that may have arrived, and were to be sent again, stay in doubt.
    """
    deleted = [bundle.customer for bundle in bundles if bundle.deletions]
    if not deleted:
        return
    rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__among=deleted)
    rows.filter(fate=Fate.PENDING, error="").delete()
    rows.filter(fate=Fate.PENDING).update(fate=Fate.UNKNOWN, settled_at=database_now())
    held = entries_of(account_id).filter(customer_external_id__among=deleted)
    held.filter(status__in=OPEN).update(status=Status.SKIPPED, error=capture.DELETED_REASON, settled_at=database_now())

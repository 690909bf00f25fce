"""The relay: pending entries become requests in the ledger, then in the buffer.

One relay works on an account at a time, under a lease. All reading and composing happens outside any transaction;
then one commit writes the requests and moves the entries, or nothing at all.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic

import redis
from django.conf import settings as django_settings
from django.db import transaction
from django.db.models import F, Max
from kombu.exceptions import OperationalError

from integrations.braze import buffer, compose, ledger, mirror, packing, readiness, records, restored
from integrations.braze.integration import NAME
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery, Fate
from integrations.braze.objects import Bundle, Entry
from integrations.braze.records import Records
from integrations.braze.taking import Pass
from integrations.outbox import bulk, capture, lease, transitions
from integrations.outbox.clock import database_now
from integrations.outbox.lease import Held, LeaseLost
from integrations.outbox.models import Kind, OutboxEntry, Status

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=django_settings.BRAZE_LEASE_SECONDS)
#: One task does one bounded slice.
SLICE_SECONDS = 5.0
#: What is parked is woken by the record it waits for, and looked at again this often in case it was missed.
PARKED = timedelta(seconds=60)


class Overtaken(Exception):
    """Entries changed while their requests were composed (their customer was deleted, say): compose anew."""


def relay(account_id: int) -> int:
    """Compose requests until nothing free is pending, enough is ready, or the slice is over; how many were made."""
    made, end = 0, monotonic() + SLICE_SECONDS
    if ledger.is_half_full(account_id):
        return 0  # a pass begins with what was left behind by the last one: it has to be worth it
    with lease.hold(account_id, NAME, LEASE) as held:
        passing = Pass(account_id)
        while held and not passing.is_over and monotonic() < end:
            deliveries, went_on = _round(account_id, held, passing)
            made += len(deliveries)
            _push(account_id, deliveries)
            if not went_on:
                break
    return made


def _round(account_id: int, held: Held, passing: Pass) -> tuple[list[Delivery], bool]:
    """Take, map, pack, commit. The second value says whether another round may find more."""
    is_sound = restored.may_go_on(account_id)
    ready, now = readiness.of(account_id), database_now()
    if not is_sound or not ready.is_ready or ready.settings is None or ledger.has_enough(account_id):
        return [], False
    ledger.make_way_for_deletions(account_id)
    entries = passing.take(now)
    if not entries:
        return [], True
    try:
        return _compose(account_id, entries, ready.settings, held, now), True
    except Overtaken:
        passing.rewind()
        return [], True
    except LeaseLost:
        logger.info("relay of account %s lost its lease; nothing was committed", account_id)
        return [], False


def _compose(
    account_id: int, entries: list[Entry], settings: BrazeSettings, held: Held, now: datetime
) -> list[Delivery]:
    loaded = records.load(account_id, entries)
    by_customer: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_customer[entry.customer_external_id].append(entry)
    waiting = _due(account_id, by_customer, loaded, now)
    bundles = [
        _bundle(account_id, customer, theirs, settings, loaded, now)
        for customer, theirs in by_customer.items()
        if customer not in waiting
    ]
    waiting |= _too_soon(bundles, settings, loaded, now)
    bundles = [bundle for bundle in bundles if bundle.customer not in waiting]
    with transaction.atomic():
        held.confirm()
        locked_out = _locked_out(entries)
        bundles = [bundle for bundle in bundles if bundle.customer not in locked_out]
        waiting = {customer: due for customer, due in waiting.items() if customer not in locked_out}
        drafts = packing.pack(bundles, settings.batch_limit)
        _save_purchases(bundles, drafts)
        deliveries = _requests(drafts, account_id, now)
        bulk.insert(Delivery, deliveries)
        _move_entries(bundles, drafts, now)
        _note_adjustments(drafts)
        _wait(by_customer, waiting)
        _discard_purchases(account_id, bundles)
        restored.count_commit(account_id)
    return deliveries


def _due(account_id: int, by_customer: dict[str, list[Entry]], loaded: Records, now: datetime) -> dict[str, datetime]:
    """Customers who have to wait for Braze's sake, and until when.

    A deletion leaves some seconds after the customer's last request, because Braze orders nothing between requests;
    a re-created customer waits until the deletion has spread, or it would be swallowed [Braze: /users/delete].
    """
    due: dict[str, datetime] = {}
    settles = timedelta(seconds=django_settings.BRAZE_DELETE_SETTLES_SECONDS)
    for customer in by_customer.keys() & loaded.profiles.keys():
        if deleted_at := loaded.profiles[customer].deleted_at:
            due[customer] = deleted_at + settles
    deleted = {c for c, theirs in by_customer.items() if any(entry.kind == Kind.CUSTOMER_DELETED for entry in theirs)}
    apart = timedelta(seconds=django_settings.BRAZE_DELETE_AFTER_SECONDS)
    for customer, at in _last_accepted(account_id, deleted - due.keys(), loaded).items():
        due[customer] = at + apart
    return {customer: until for customer, until in due.items() if until > now}


def _last_accepted(account_id: int, customers: Collection[str], loaded: Records) -> dict[str, datetime]:
    """When Braze took, or may have taken, the customers' last requests: by the mirror, and by their settled changes."""
    if not customers:
        return {}
    settled = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, customer_external_id__among=customers)
    settled = settled.filter(batch__isnull=False, settled_at__isnull=False).order_by()
    latest = dict(settled.values_list("customer_external_id").annotate(Max("settled_at")))
    for customer in customers:
        profile = loaded.profiles.get(customer)
        if profile and profile.last_accepted_at:
            latest[customer] = max(profile.last_accepted_at, latest.get(customer, profile.last_accepted_at))
    return latest


def _too_soon(
    bundles: Sequence[Bundle], settings: BrazeSettings, loaded: Records, now: datetime
) -> dict[str, datetime]:
    """Customers with an attribute that was changed a moment ago: Braze might apply the two changes in the other order.

    Braze: "leave a few seconds between requests for the same user" [Braze: /users/track, FAQ].
    """
    waiting = {}
    for bundle in bundles:
        names = [name for item in bundle.attributes for name in item.body]
        free_at = mirror.free_at(loaded.profiles.get(bundle.customer), names, settings.attribute_gap_seconds)
        if free_at > now.timestamp():
            waiting[bundle.customer] = datetime.fromtimestamp(free_at, UTC)
    return waiting


def _bundle(
    account_id: int,
    customer: str,
    entries: Sequence[Entry],
    settings: BrazeSettings,
    loaded: Records,
    now: datetime,
) -> Bundle:
    """A customer whose records cannot be mapped is set aside, visibly, and stops nobody else."""
    try:
        return compose.bundle(customer, entries, settings, loaded, now)
    except Exception as error:  # whatever is wrong with one customer's records must not hold up the account
        logger.exception("changes of a customer of account %s cannot be mapped", account_id)
        reason = f"cannot be mapped: {type(error).__name__}: {error}"
        return Bundle(customer, rejected=dict.fromkeys((entry.pk for entry in entries), reason))


def _locked_out(entries: Sequence[Entry]) -> set[str]:
    """Customers with an entry that another transaction holds (it deletes the customer, say): they wait, nobody else.

    Waiting for its lock, with locks of our own, would hold up the account, and could deadlock with that transaction.
    """
    mine = OutboxEntry.objects.filter(pk__among=[entry.pk for entry in entries], status=Status.PENDING)
    free = set(mine.select_for_update(skip_locked=True).values_list("pk", flat=True))
    if len(free) == len(entries):
        return set()
    if mine.count() != len(entries):
        raise Overtaken
    return {entry.customer_external_id for entry in entries if entry.pk not in free}


def _requests(drafts: Sequence[packing.Draft], account_id: int, now: datetime) -> list[Delivery]:
    """Dated by the database's clock, as settings are: which of them is newer decides whether they fit together."""
    requests = [packing.delivery(draft, account_id) for draft in drafts]
    for request in requests:
        request.created_at = now
    return requests


# --- the commit -----------------------------------------------------------------------------------------


def _save_purchases(bundles: Sequence[Bundle], drafts: Sequence[packing.Draft]) -> None:
    """New rows get their primary keys here, before the manifests that name them are written."""
    known: list[int] = []
    for draft in drafts:
        for item in draft.purchases:
            assert item.purchase is not None
            item.purchase.fate, item.purchase.delivery_id = Fate.BUFFERED, draft.id
            if item.purchase.pk:
                known.append(item.purchase.pk)
    bulk.insert(BrazePurchase, [row for bundle in bundles for row in bundle.new_purchases], with_keys=True)
    for draft in drafts:
        again = [item.purchase.pk for item in draft.purchases if item.purchase and item.purchase.pk in known]
        if again:
            BrazePurchase.objects.filter(pk__among=again).update(fate=Fate.BUFFERED, delivery_id=draft.id)


def _move_entries(bundles: Sequence[Bundle], drafts: Sequence[packing.Draft], now: datetime) -> None:
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
    for reason, ids in by_reason.items():
        _move(ids, status=Status.SKIPPED, error=reason, settled_at=now)
        # A part that was refused or is in doubt outlives the rule that skips the rest.
        OutboxEntry.objects.filter(pk__among=ids).exclude(worst="").update(status=F("worst"))
    for reason, ids in parked.items():
        _move(ids, parked=True, error=reason, due_at=now + PARKED)
    _reject(bundles, now)


def _reject(bundles: Sequence[Bundle], now: datetime) -> None:
    """What Braze would refuse is rare, and logged as a refusal of Braze's own is."""
    failed = {pk: reason for bundle in bundles for pk, reason in bundle.failed.items()}
    rejected = {pk: reason for bundle in bundles for pk, reason in bundle.rejected.items()}
    if not failed and not rejected:
        return
    for pk, reason in failed.items():
        OutboxEntry.objects.filter(pk=pk).update(worst=Status.REJECTED, error=reason)
    for pk, reason in rejected.items():
        _move({pk}, status=Status.REJECTED, error=reason, settled_at=now)
    for entry in OutboxEntry.objects.filter(pk__among=failed.keys() | rejected.keys()):
        words = "sync failed: account=%s kind=%s entry=%s, not sent, reason=%s"
        logger.warning(words, entry.account_id, entry.kind, entry.pk, entry.error)


def _note_adjustments(drafts: Sequence[packing.Draft]) -> None:
    """One by one: values that Braze would not take are few."""
    for draft in drafts:
        for item in (*draft.attributes, *draft.events, *draft.purchases):
            if item.adjustments:
                OutboxEntry.objects.filter(pk__among=item.entries).update(adjustments=list(item.adjustments))


def _move(ids: set[int], **changes: object) -> None:
    """Raises `Overtaken` where any of the entries is no longer pending; the commit is then undone."""
    if OutboxEntry.objects.filter(pk__among=ids, status=Status.PENDING).update(**changes) != len(ids):
        raise Overtaken


def _wait(by_customer: dict[str, list[Entry]], waiting: dict[str, datetime]) -> None:
    for customer, due in waiting.items():
        _move({entry.pk for entry in by_customer[customer]}, due_at=due)


def _discard_purchases(account_id: int, bundles: Sequence[Bundle]) -> None:
    """A deleted customer's purchases that never left: nothing of them is in Braze, nothing will have to be negated.

    One that was to be sent again, as it may or may not have arrived, stays in doubt.
    """
    deleted = [bundle.customer for bundle in bundles if bundle.deletions]
    if not deleted:
        return
    rows = BrazePurchase.objects.filter(account_id=account_id, customer_external_id__among=deleted)
    rows.filter(fate=Fate.PENDING, error="").delete()
    rows.filter(fate=Fate.PENDING).update(fate=Fate.UNKNOWN, settled_at=database_now())
    held = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, customer_external_id__among=deleted)
    held.filter(status__in=(Status.UNKNOWN, Status.REJECTED)).update(
        status=Status.SKIPPED, error=capture.DELETED_REASON, settled_at=database_now()
    )


def _push(account_id: int, deliveries: Sequence[Delivery]) -> None:
    """A failing Redis costs a delay: the flush pushes again what is not there, or did not fit."""
    if not deliveries:
        return
    from integrations.braze import tasks

    try:
        restored.tell_redis(account_id)
        fitting = set(ledger.next_to_send(account_id))
        buffer.push(account_id, [delivery for delivery in deliveries if delivery.pk in fitting])
        tasks.wake_flush(account_id, len(deliveries))
    except (redis.RedisError, OperationalError) as error:
        logger.warning("requests of account %s are not in the buffer yet: %s", account_id, type(error).__name__)

"""Settles a request: each object's fate, the mirror, the ledger and the account's state, in one transaction."""

import logging
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, When

from integrations.braze import mirror
from integrations.braze.delivery import ledger, readiness, splitting, verdicts
from integrations.braze.delivery.profiles import mirrored
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.erasure import payloads
from integrations.braze.integration import NAME
from integrations.braze.mapping.objects import MAX_PER_ARRAY
from integrations.braze.mapping.rows import Mirrored
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery, Fate
from integrations.braze.models.account import BatchLimit, PauseKind, UnknownPolicy
from integrations.braze.models.purchase import IN_DOUBT_BEFORE
from integrations.outbox import bulk, capture, nudge, oldest, transitions
from integrations.outbox.capture import Change
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status, Topic

logger = logging.getLogger(__name__)

STATE_TOPICS = (Topic.CUSTOMER_UPDATED, Topic.CUSTOMER_TAGS, Topic.AUDIENCES)
_MIRRORED = [field.name for field in fields(Mirrored) if field.name not in ("account_id", "external_id")]
#: Of what Braze has neither accepted nor refused, where its answer said nothing.
NO_WORDS = "Braze's answer does not tell whether it arrived."
BACKOFF_FIRST_SECONDS, BACKOFF_MOST_SECONDS = 0.5, 60.0


class Answered(NamedTuple):
    """A request that was sent, and what its answer, or the lack of one, means."""

    delivery_id: UUID
    verdict: Verdict
    status_code: int | None = None


class Line(NamedTuple):
    """One object of a settled request: whose it is, and its fate.

    `told` is the fate by Braze's answer, `fate` that after the account's policy for what is unknown. `sent` is there
    for attributes alone.
    """

    request: Delivery
    array: str
    customer: str
    entries: list[int]
    creates: bool
    known: bool
    purchase: int | None
    sent: Any
    told: ObjectFate
    fate: ObjectFate
    reason: str


def settle(delivery_id: UUID, verdict: Verdict, status_code: int | None = None) -> bool:
    """Act on a verdict, once. False where the request was settled already, or never started."""
    request = Delivery.objects.only("account_id").filter(pk=delivery_id).first()
    return request is not None and bool(settle_all(request.account_id, [Answered(delivery_id, verdict, status_code)]))


def settle_all(account_id: int, answers: Sequence[Answered]) -> set[UUID]:
    """Act on the verdicts of an account's requests, together and once; which had not been settled before."""
    now = database_now()
    with transaction.atomic():
        ends = {answer.delivery_id: _end(answer) for answer in answers}
        settled = ledger.finish_all(ends, now)
        if not settled:
            return settled
        if any(answer.verdict.traffic == Traffic.PAUSE for answer in answers):
            # Settings that are being saved have the last word: they are waited for.
            list(BrazeSettings.objects.filter(account_id=account_id).select_for_update().values_list("pk"))
        settings = readiness.settings_of(account_id)
        settings = settings or BrazeSettings(account_id=account_id, updated_at=now)  # deleted: the default policies
        state = readiness.state_of(account_id) or BrazeState.objects.get_or_create(account_id=account_id)[0]
        deliveries = _loaded(settled)
        payloads.forget_settled(settled)
        lines: list[Line] = []
        for answer in answers:
            if answer.delivery_id in settled:
                lines += _acted_on(deliveries[answer.delivery_id], answer.verdict, settings, state, now)
        _settle_purchases(account_id, lines, now)
        _settle_entries(lines, now)
        _unpark({line.customer for line in lines if line.purchase is not None}, account_id)
        _move_mirror(account_id, [_doubted(line, settings) for line in lines], now)
        transaction.on_commit(partial(_go_on, account_id), robust=True)
    return settled


def _go_on(account_id: int) -> None:
    """Customers who were busy until now may have more; that nothing waits is cheaper to see here than by a relay."""
    if oldest.first_pending(account_id, NAME) is not None:
        nudge.publish_soon(account_id)


def _end(answer: Answered) -> ledger.End:
    return ledger.End(answer.verdict.outcome.value, answer.status_code, answer.verdict.words)


def _loaded(ids: Collection[UUID]) -> dict[UUID, Delivery]:
    """Bodies only of those whose attributes move the mirror; a body that is needed after all is read then."""
    body = Case(When(attributes__gt=0, then=F("body")))
    found = Delivery.objects.filter(pk__among=ids).defer("body").annotate(body_of_state=body)
    for delivery in found:
        if delivery.body_of_state is not None:
            delivery.body = delivery.body_of_state
    return {delivery.pk: delivery for delivery in found}


def _acted_on(
    delivery: Delivery, verdict: Verdict, settings: BrazeSettings, state: BrazeState, now: datetime
) -> list[Line]:
    """What is left to settle, object by object, once the request and its account have been seen to."""
    _note_miscounts(delivery, verdict)
    verdict = _after_refusal(delivery, verdict, settings, now)
    if verdict.traffic == Traffic.SPLIT:
        splitting.split(delivery)
        return []
    _steer(state, verdict, now)
    return list(_lines(delivery, verdict, settings))


def _note_miscounts(delivery: Delivery, verdict: Verdict) -> None:
    """Braze's own counts decide nothing; where they differ from what was sent, somebody should look."""
    if words := verdicts.miscounted(verdict, {array: getattr(delivery, array) for array in ledger.ARRAYS}):
        logger.warning("request %s of account %s: %s", delivery.pk, delivery.account_id, words)
        Delivery.objects.filter(pk=delivery.pk).update(answer=f"{words} {verdict.words}"[: verdicts.MAX_WORDS])


def _after_refusal(delivery: Delivery, verdict: Verdict, settings: BrazeSettings, now: datetime) -> Verdict:
    """What a refusal of the whole request comes to, once the request and the account's contract are looked at."""
    if verdict.traffic == Traffic.GO_ON and _unclear_arrays(delivery, verdict):
        return replace(verdict, traffic=Traffic.BACK_OFF)  # what is unknown may be sent again, but not at once
    if verdict.traffic == Traffic.PAUSE and delivery.created_at < settings.updated_at <= now:
        return replace(verdict, traffic=Traffic.AS_BEFORE)  # it says nothing of the settings that there are now
    if verdict.traffic in (Traffic.SPLIT, Traffic.COMBINE) and settings.updated_at > delivery.created_at:
        return replace(verdict, traffic=Traffic.GO_ON)  # composed under settings that have changed: compose it anew
    if verdict.traffic == Traffic.COMBINE:
        if delivery.size > MAX_PER_ARRAY and settings.batch_limit == BatchLimit.PER_ARRAY:
            logger.warning("account %s: Braze takes 75 objects a request in all; switched", settings.account_id)
            BrazeSettings.objects.filter(pk=settings.pk).update(batch_limit=BatchLimit.COMBINED)
            BrazeState.objects.filter(account_id=settings.account_id).update(combined_at=database_now())
            return replace(verdict, traffic=Traffic.GO_ON)
        verdict = replace(verdict, traffic=Traffic.SPLIT)
    if verdict.traffic == Traffic.SPLIT and delivery.size == 1:
        return replace(verdict, traffic=Traffic.GO_ON, otherwise=ObjectFate.REJECTED)
    return verdict


def _lines(delivery: Delivery, verdict: Verdict, settings: BrazeSettings) -> Iterator[Line]:
    unclear = _unclear_arrays(delivery, verdict)
    attributes = delivery.payload["attributes"] if delivery.attributes else []
    for array in ledger.ARRAYS:
        for index, item in enumerate(delivery.manifest.get(array, ())):
            told = ObjectFate.UNKNOWN if array in unclear else verdict.fate(array, index)
            yield Line(
                request=delivery,
                array=array,
                customer=item["customer"],
                entries=item["entries"],
                creates=item["creates"],
                known=item.get("known", False),
                purchase=item.get("purchase"),
                sent=attributes[index] if array == "attributes" else None,
                told=told,
                fate=_by_policy(array, told, settings),
                reason=verdict.reasons.get((array, index), verdict.words),
            )


def _unclear_arrays(delivery: Delivery, verdict: Verdict) -> set[str]:
    """Arrays of which Braze names an object that was not sent: its indexes are not ours, so nothing there is known."""
    sizes = {array: len(delivery.manifest.get(array, [])) for array in ledger.ARRAYS}
    return {array for array, index in verdict.reasons if index >= sizes.get(array, 0)}


def _by_policy(array: str, fate: ObjectFate, settings: BrazeSettings) -> ObjectFate:
    """Attributes and deletions are harmless to repeat; events and purchases are counted, so the account decides."""
    if fate != ObjectFate.UNKNOWN:
        return fate
    policy = {"events": settings.unknown_events, "purchases": settings.unknown_purchases}.get(array)
    return ObjectFate.UNKNOWN if policy == UnknownPolicy.HOLD else ObjectFate.RETRY


# --- purchases ------------------------------------------------------------------------------------------


def _settle_purchases(account_id: int, lines: list[Line], now: datetime) -> None:
    """One that is sent again though it may have arrived keeps the reason: it is not one that never left."""
    by_fate: dict[tuple[ObjectFate, str], list[int]] = defaultdict(list)
    for line in lines:
        if line.purchase is not None:
            is_sure = line.told in (ObjectFate.DELIVERED, ObjectFate.RETRY)
            by_fate[line.fate, "" if is_sure else line.reason or NO_WORDS].append(line.purchase)
    for (fate, reason), ids in by_fate.items():
        rows = BrazePurchase.objects.filter(pk__among=ids)
        if fate == ObjectFate.RETRY:
            rows.update(fate=Fate.PENDING, delivery_id=None, **({"error": reason} if reason else {}))
        elif fate == ObjectFate.REJECTED:
            _nothing_to_negate(account_id, rows)
            rows.exclude(error="").update(fate=Fate.REJECTED, error=IN_DOUBT_BEFORE + reason, settled_at=now)
            rows.filter(error="").update(fate=Fate.REJECTED, error=reason, settled_at=now)
        else:
            rows.update(fate=Fate(fate.value), error=reason, settled_at=now)


def _nothing_to_negate(account_id: int, refused: "QuerySet[BrazePurchase]") -> None:
    """Reversals of what was refused, which a restored backup brought back with their sales."""
    reversals = [f"{purchase_id}:R" for purchase_id in refused.values_list("purchase_id", flat=True)]
    BrazePurchase.objects.filter(account_id=account_id, purchase_id__in=reversals, fate=Fate.PENDING).delete()


def _unpark(customers: set[str], account_id: int) -> None:
    """Reversals that waited for these purchases are looked at again."""
    if not customers:
        return
    parked = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING, parked=True)
    parked = parked.filter(due_at__isnull=False)  # as all of them have: these are few, and there is an index on them
    parked.filter(customer_external_id__among=customers).update(parked=False, error="", due_at=None)


# --- entries --------------------------------------------------------------------------------------------


def _settle_entries(lines: list[Line], now: datetime) -> None:
    """An entry goes back as long as any of its objects has to be sent; then its worst object decides."""
    requests = {line.request.pk: line.request for line in lines}
    manifests = [request.manifest for request in requests.values()]
    mine = ledger.carried(manifests).filter(batch__among=list(requests))
    again = {pk for line in lines if line.fate == ObjectFate.RETRY for pk in line.entries}
    again.update(*(manifest.get("unfinished", ()) for manifest in manifests))
    if failures := _failures(lines):
        _note_failures(mine, failures)
    if again:
        _note_doubts(mine, lines)
        mine.filter(pk__among=again).update(status=Status.PENDING, batch=None)
    transitions.settle(ledger.named(manifests), list(requests), now)


def _note_doubts(mine: "QuerySet[OutboxEntry]", lines: list[Line]) -> None:
    """An event that is sent again though it may have arrived keeps the reason: it is not one that never left."""
    by_reason: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        if line.array == "events" and line.told == ObjectFate.UNKNOWN and line.fate == ObjectFate.RETRY:
            by_reason[line.reason or NO_WORDS].update(line.entries)
    for reason, ids in by_reason.items():
        mine.filter(pk__among=ids).update(error=reason)


def _failures(lines: list[Line]) -> dict[int, Line]:
    """By entry, the line that fared worst of those that Braze refused or that are held as unknown."""
    failures: dict[int, Line] = {}
    for line in lines:
        for pk in line.entries if line.fate in (ObjectFate.REJECTED, ObjectFate.UNKNOWN) else ():
            if pk not in failures or line.fate == ObjectFate.UNKNOWN:
                failures[pk] = line
    return failures


def _note_failures(mine: "QuerySet[OutboxEntry]", failures: dict[int, Line]) -> None:
    """One by one: they are few, and each has its reason. Logged for those who watch logs."""
    for entry in mine.filter(pk__among=failures):
        line = failures[entry.pk]
        if entry.worst != Status.UNKNOWN:
            mine.filter(pk=entry.pk).update(worst=Status(line.fate.value), error=line.reason)
        logger.warning(
            "sync failed: account=%s kind=%s entry=%s request=%s status=%s reason=%s",
            entry.account_id, entry.kind, entry.pk, line.request.pk, line.request.status_code, line.reason,
        )  # fmt: skip


# --- mirror ---------------------------------------------------------------------------------------------


def _move_mirror(account_id: int, lines: list[Line], now: datetime) -> None:
    """Only what Braze accepted moves the mirror; what it may have accepted becomes uncertain."""
    moving = [line for line in lines if line.told in (ObjectFate.DELIVERED, ObjectFate.UNKNOWN) or _is_refused(line)]
    moving = [line for line in moving if not _tells_nothing_new(line)]
    if not moving:
        return
    customers = {line.customer for line in moving}
    profiles = mirrored(account_id, customers, locked=True)
    strangers = customers - profiles.keys()
    for line in moving:
        profile = profiles.setdefault(line.customer, Mirrored(account_id, line.customer))
        if not _is_refused(line):
            _move(profile, line, now)
        elif mirror.refuse(profile, _attributes(line), line.reason):
            capture.record([_state_again(account_id, line.customer)])  # the rest, without what was refused
        elif line.customer in strangers:
            del profiles[line.customer]
    _send_again_what_was_unproven(account_id, profiles.values())
    bulk.insert(BrazeProfile, list(profiles.values()), unique=("account", "external_id"), update=_MIRRORED)


def _send_again_what_was_unproven(account_id: int, profiles: Iterable[Mirrored]) -> None:
    """Updates that Braze took before the user was known to exist may have met nobody."""
    proven = [profile for profile in profiles if profile.is_known and profile.is_unproven]
    for profile in proven:
        profile.is_unproven = False
    capture.record([_state_again(account_id, profile.external_id) for profile in proven])


def _state_again(account_id: int, customer: str) -> Change:
    return Change(account_id, Kind.CUSTOMER_UPDATED, customer, STATE_TOPICS, data={"resync": True})


def _tells_nothing_new(line: Line) -> bool:
    """An accepted event or purchase of a user whom Braze was known to have; that is most of them."""
    return line.known and line.told == ObjectFate.DELIVERED and line.array in ("events", "purchases")


def _doubted(line: Line, settings: BrazeSettings) -> Line:
    """What was sent under settings that have changed may have gone to another workspace than the mirror is of."""
    is_old = settings.updated_at > line.request.created_at and line.array != "deletions"
    return line._replace(told=ObjectFate.UNKNOWN) if is_old and line.told == ObjectFate.DELIVERED else line


def _is_refused(line: Line) -> bool:
    return line.told == ObjectFate.REJECTED and line.array == "attributes"


def _move(profile: Mirrored, line: Line, now: datetime) -> None:
    """Arrays come in Braze's own order, attributes first; an object that may not have found its user proves nothing."""
    if line.array == "attributes":
        mirror.touch(profile, _attributes(line), now.timestamp())
    profile.last_accepted_at = now  # or may have been: a deletion keeps its distance either way
    if line.told == ObjectFate.UNKNOWN:
        if line.array == "attributes":
            mirror.doubt(profile, _attributes(line))
        elif line.array == "deletions":
            mirror.doubt(profile, profile.attributes)
            profile.is_known = False
        return
    if line.array == "deletions":
        profile.attributes, profile.uncertain, profile.is_known, profile.deleted_at = {}, [], False, now
        profile.is_unproven, profile.recent, profile.refused = False, {}, {}
        return
    profile.is_known, profile.deleted_at = profile.is_known or line.creates, None
    if line.array == "attributes" and profile.is_known:
        mirror.accept(profile, _attributes(line))
    elif line.array == "attributes":
        profile.is_unproven = True


def _attributes(line: Line) -> dict[str, Any]:
    return {name: value for name, value in line.sent.items() if name not in ("external_id", "_update_existing_only")}


# --- the account's traffic ------------------------------------------------------------------------------


def _steer(state: BrazeState, verdict: Verdict, now: datetime) -> None:
    if verdict.traffic == Traffic.AS_BEFORE:
        return
    if verdict.traffic == Traffic.GO_ON:
        if state.failures:  # a wait that Braze asked for is not over because a request before it went well
            _change(state, failures=0, backoff_until=None, last_error="")
    elif verdict.traffic == Traffic.WAIT:
        until = now + timedelta(seconds=verdict.wait_seconds)
        _change(state, backoff_until=until, last_error=verdict.words)
    elif verdict.traffic == Traffic.BACK_OFF:
        until = now + timedelta(seconds=backoff_seconds(state.failures, random.random()))  # noqa: S311
        _change(state, failures=state.failures + 1, backoff_until=until, last_error=verdict.words)
    else:
        _pause(state, verdict, now)


def _change(state: BrazeState, **changes: Any) -> None:
    """These fields alone: others may have been changed by somebody else. The next answer sees them too."""
    BrazeState.objects.filter(pk=state.pk).update(**changes)
    for name, value in changes.items():
        setattr(state, name, value)


def backoff_seconds(failures: int, chance: float) -> float:
    """Exponential backoff with full jitter: `chance` in [0, 1) of what the number of failures allows."""
    ceiling: float = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(failures, 16))
    return chance * ceiling


def _pause(state: BrazeState, verdict: Verdict, now: datetime) -> None:
    """Nothing is sent until an operator saves the settings; nothing is dropped meanwhile."""
    words = {"pause_reason": verdict.words, "last_error": verdict.words}
    _change(state, paused_at=now, pause_kind=PauseKind.REFUSED, **words)
    ledger.dissolve_unstarted(state.account_id)
    logger.warning("account %s paused: %s", state.account_id, verdict.words)

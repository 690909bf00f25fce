"""Settles a request: each object's fate, the mirror, the ledger and the account's state, in one transaction."""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, When

from integrations.braze.delivery import ledger, profiles, readiness, splitting, traffic, verdicts
from integrations.braze.delivery.fates import Line, lines_of
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.erasure import payloads
from integrations.braze.integration import NAME, pending_of
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery, Fate
from integrations.braze.models.ledger import ARRAYS, MAX_WORDS
from integrations.braze.models.purchase import IN_DOUBT_BEFORE
from integrations.outbox import nudge, oldest, transitions
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.prepared import Prepared

logger = logging.getLogger(__name__)

#: The reason for an unknown outcome if the answer has no words of its own.
NO_WORDS = "Braze's answer does not tell whether it arrived."


class Answered(NamedTuple):
    """A request that was sent, and what its answer, or the absence of one, means."""

    delivery_id: UUID
    verdict: Verdict
    status_code: int | None = None


def settle(delivery_id: UUID, verdict: Verdict, status_code: int | None = None) -> bool:
    """Act on a verdict, once. False if the request was already settled, or never started."""
    request = Delivery.objects.only("account_id").filter(pk=delivery_id).first()
    return request is not None and bool(settle_all(request.account_id, [Answered(delivery_id, verdict, status_code)]))


def settle_all(account_id: int, answers: Sequence[Answered]) -> set[UUID]:
    """Act on the verdicts of an account's requests, once and in one transaction; returns those settled by this call."""
    with transaction.atomic():
        # Settings that are being saved are waited for: they decide what an answer means, and for which workspace.
        settings = readiness.settings_of(account_id, key_share=True)
        now = database_now()
        ends = {answer.delivery_id: _end(answer) for answer in answers}
        settled = ledger.finish_all(ends, now)
        if not settled:
            return settled
        settings = settings or BrazeSettings(account_id=account_id, updated_at=now)  # deleted: the default policies
        state = readiness.state_of(account_id) or BrazeState.objects.get_or_create(account_id=account_id)[0]
        deliveries = _loaded(settled)
        payloads.forget_settled(settled)
        lines: list[Line] = []
        for answer in answers:
            if answer.delivery_id in settled:
                lines += _acted_on(deliveries[answer.delivery_id], answer.verdict, settings, state, now)
        lines = _with_older_doubts(lines)
        _settle_purchases(account_id, lines, now)
        _settle_entries(lines, now)
        unpark(account_id, {line.customer for line in lines if line.purchase is not None})
        profiles.move(account_id, [profiles.doubted(line, settings, now) for line in lines], now)
        transaction.on_commit(partial(_go_on, account_id), robust=True)
    return settled


def _go_on(account_id: int) -> None:
    """Nudge the relay, since customers who were busy until now may have more; to look first is cheaper than in vain."""
    if oldest.first_pending(account_id, NAME) is not None:
        nudge.publish_soon(account_id)


def _end(answer: Answered) -> ledger.End:
    return ledger.End(answer.verdict.outcome.value, answer.status_code, answer.verdict.words)


def _loaded(ids: Collection[UUID]) -> dict[UUID, Delivery]:
    """The requests, with bodies only where attributes move the mirror; any other body is read when it is needed."""
    body = Case(When(attributes__gt=0, then=F("body")))
    found = Delivery.objects.filter(pk__among=ids).defer("body").annotate(body_of_state=body)
    for delivery in found:
        if delivery.body_of_state is not None:
            delivery.body = delivery.body_of_state
    return {delivery.pk: delivery for delivery in found}


def _acted_on(
    delivery: Delivery, verdict: Verdict, settings: BrazeSettings, state: BrazeState, now: datetime
) -> list[Line]:
    """Act on the verdict for request and account; returns what is left to settle, object by object."""
    _note_miscounts(delivery, verdict)
    verdict = traffic.after_refusal(delivery, verdict, settings, now)
    if verdict.traffic == Traffic.SPLIT:
        splitting.split(delivery)
        return []
    traffic.steer(state, verdict, delivery.started_at, now)
    return list(lines_of(delivery, verdict, settings, now))


def _note_miscounts(delivery: Delivery, verdict: Verdict) -> None:
    """Braze's own counts decide nothing; if they differ from what was sent, somebody should look."""
    if words := verdicts.miscounted(verdict, {array: getattr(delivery, array) for array in ARRAYS}):
        logger.warning("request %s of account %s: %s", delivery.pk, delivery.account_id, words)
        Delivery.objects.filter(pk=delivery.pk).update(answer=f"{words} {verdict.words}"[:MAX_WORDS])


def _with_older_doubts(lines: list[Line]) -> list[Line]:
    """What is refused when it is sent again may have arrived the first time: it is in doubt as before."""
    refused = [line for line in lines if line.fate == ObjectFate.REJECTED]
    purchases = [line.purchase for line in refused if line.purchase is not None]
    events = {pk for line in refused if line.array == "events" for pk in line.entries}
    if not purchases and not events:
        return lines
    rows = BrazePurchase.objects.filter(pk__among=purchases).exclude(error="")
    entries = OutboxEntry.objects.filter(pk__among=events).exclude(error="")
    in_doubt = set(rows.values_list("pk", flat=True)), set(entries.values_list("pk", flat=True))
    return [_in_doubt_again(line) if _is_of(line, *in_doubt) else line for line in lines]


def _is_of(line: Line, purchases: set[int], events: set[int]) -> bool:
    is_event = line.array == "events" and not events.isdisjoint(line.entries)
    return line.fate == ObjectFate.REJECTED and (line.purchase in purchases or is_event)


def _in_doubt_again(line: Line) -> Line:
    return line._replace(fate=ObjectFate.UNKNOWN, reason=IN_DOUBT_BEFORE + line.reason)


# --- purchases ------------------------------------------------------------------------------------------


def _settle_purchases(account_id: int, lines: list[Line], now: datetime) -> None:
    """A purchase that is sent again although it may have arrived keeps its reason: one that was never sent has none."""
    by_fate: dict[tuple[ObjectFate, str], list[int]] = defaultdict(list)
    for line in lines:
        if line.purchase is not None:
            is_sure = line.told in (ObjectFate.DELIVERED, ObjectFate.RETRY)
            by_fate[line.fate, "" if is_sure else line.reason or NO_WORDS].append(line.purchase)
    if refused := [line.purchase for line in lines if line.purchase and line.told == ObjectFate.REJECTED]:
        _delete_reversals_of(account_id, refused)
    for (fate, reason), ids in by_fate.items():
        rows = BrazePurchase.objects.filter(pk__among=ids)
        if fate == ObjectFate.RETRY:
            rows.update(fate=Fate.PENDING, delivery_id=None, **({"error": reason} if reason else {}))
        else:
            rows.update(fate=Fate(fate.value), error=reason, settled_at=now)


def _delete_reversals_of(account_id: int, refused: list[int]) -> None:
    """Delete pending reversals of refused sales: recovery from a restore brings both back together.

    Where such a sale is in doubt nevertheless, its reversal is made again once it is known to have arrived.
    """
    rows = BrazePurchase.objects.filter(pk__among=refused)
    reversals = [f"{purchase_id}:R" for purchase_id in rows.values_list("purchase_id", flat=True)]
    BrazePurchase.objects.filter(account_id=account_id, purchase_id__in=reversals, fate=Fate.PENDING).delete()


def _parked(account_id: Any, customers: Any) -> "QuerySet[OutboxEntry, Any]":
    parked = pending_of(account_id).filter(parked=True)
    parked = parked.filter(due_at__isnull=False)  # all parked entries have it; the condition selects a small index
    theirs = parked.filter(customer_external_id__among=customers)
    return theirs.select_for_update(skip_locked=True).values_list("pk")


_PARKED = Prepared(_parked)


def unpark(account_id: int, customers: set[str]) -> None:
    """Let the customers' parked reversals be composed again: what they waited for has an outcome.

    Those that somebody else has locked (to delete the customer, say) are composed again when they are due, within a
    minute. To wait for that lock while holding others could deadlock with a transaction that deletes several customers.
    """
    if not customers:
        return
    ids = [pk for (pk,) in _PARKED.rows(account_id=account_id, customers=customers)]
    if ids:
        OutboxEntry.objects.filter(pk__among=ids).update(parked=False, error="", due_at=None)


# --- entries --------------------------------------------------------------------------------------------


def _settle_entries(lines: list[Line], now: datetime) -> None:
    """An entry becomes pending again while any of its objects has to be sent; after that its worst object decides."""
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
    """An event that is sent again although it may have arrived keeps its reason: one that was never sent has none."""
    by_reason: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        if line.array == "events" and line.told == ObjectFate.UNKNOWN and line.fate == ObjectFate.RETRY:
            by_reason[line.reason or NO_WORDS].update(line.entries)
    for reason, ids in by_reason.items():
        mine.filter(pk__among=ids).update(error=reason)


def _failures(lines: list[Line]) -> dict[int, Line]:
    """By entry, its worst line among those that were rejected or are held as unknown; unknown is worse."""
    failures: dict[int, Line] = {}
    for line in lines:
        for pk in line.entries if line.fate in (ObjectFate.REJECTED, ObjectFate.UNKNOWN) else ():
            if pk not in failures or line.fate == ObjectFate.UNKNOWN:
                failures[pk] = line
    return failures


def _note_failures(mine: "QuerySet[OutboxEntry]", failures: dict[int, Line]) -> None:
    """Note and log failures one by one: they are few, and each has its own reason."""
    for entry in mine.filter(pk__among=failures):
        line = failures[entry.pk]
        if entry.worst != Status.UNKNOWN:
            mine.filter(pk=entry.pk).update(worst=Status(line.fate.value), error=line.reason)
        logger.warning(
            "sync failed: account=%s kind=%s entry=%s request=%s status=%s reason=%s",
            entry.account_id, entry.kind, entry.pk, line.request.pk, line.request.status_code, line.reason,
        )  # fmt: skip

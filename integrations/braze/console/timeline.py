"""What became of a record: each of its captured changes, step by step, newest first."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.console import sent
from integrations.braze.console.search import Found
from integrations.braze.integration import entries_of
from integrations.braze.models import BrazePurchase, Delivery, Outcome
from integrations.outbox.models import IN_ANY_STATE, OPEN, Kind, OutboxEntry, Status, with_reason

#: Changes on a page, objects of each, and purchases of one order.
PAGE, MOST_OBJECTS, MOST_PURCHASES = 20, 20, 100
GOOD, BUSY, BAD, PLAIN = "good", "warn", "bad", ""

#: How a change ended. A delivered one need not have been accepted: a person may have treated it as delivered.
ENDS = {
    Status.DELIVERED: (GOOD, "delivered"),
    Status.SKIPPED: (PLAIN, "skipped"),
    Status.REJECTED: (BAD, "rejected"),
    Status.UNKNOWN: (BAD, "may or may not have arrived, held for a decision"),
    Status.DISCARDED: (PLAIN, "discarded"),
}
#: Outcome of a request → words.
ANSWERS = {
    Outcome.ACCEPTED: "Braze accepted the request",
    Outcome.PARTIAL: "Braze accepted a part of the request",
    Outcome.REFUSED: "Braze refused the request",
    Outcome.RETRY: "the request failed, and what it carried was to be sent again",
    Outcome.UNKNOWN: "no answer, or none that tells: the outcome of the request is unknown",
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened, or is waited for; `at` is None if it has not happened yet."""

    at: datetime | None
    words: str
    tone: str = PLAIN
    request: Delivery | None = None


@dataclass(frozen=True, slots=True)
class Change:
    entry: OutboxEntry
    steps: list[Step]
    objects: list[Any]  #: as they were sent, in the request that carried the change last

    @property
    def shown(self) -> list[Any]:
        """The first `MOST_OBJECTS`: a page may have twenty changes of as many."""
        return self.objects[:MOST_OBJECTS]

    @property
    def is_failed(self) -> bool:
        return self.entry.status in OPEN


@dataclass(frozen=True, slots=True)
class Timeline:
    """A page of changes. The next page begins below the id `older`; 0 if there is none.

    Of an order's purchases, the first `MOST_PURCHASES`, and how many there are in all.
    """

    changes: list[Change]
    purchases: list[BrazePurchase]
    purchases_in_all: int = 0
    older: int = 0


def of(found: Found, before: int = 0, with_objects: bool = False) -> Timeline:
    """A page of the record's timeline, of entries with ids below `before` if that is not 0."""
    entries = list(_entries(found, before)[: PAGE + 1])
    older, entries = entries[PAGE - 1].pk if len(entries) > PAGE else 0, entries[:PAGE]
    batches = {entry.batch for entry in entries if entry.batch}
    requests = Delivery.objects.defer(*(() if with_objects else ("body", "manifest"))).in_bulk(batches)
    decisions = _decisions(entries)
    changes = [
        Change(
            entry,
            list(_steps(entry, requests.get(entry.batch), decisions[entry.pk])),
            sent.objects(requests.get(entry.batch), entry.pk) if with_objects else [],
        )
        for entry in entries
    ]
    purchases = _purchases(found)
    shown = list(purchases[: MOST_PURCHASES + 1])
    in_all = len(shown) if len(shown) <= MOST_PURCHASES else purchases.count()
    return Timeline(changes, shown[:MOST_PURCHASES], in_all, older)


def _entries(found: Found, before: int) -> "QuerySet[OutboxEntry]":
    """The record's entries, newest first; found through the customer, for whom there is an index."""
    mine = entries_of(found.account.pk).filter(IN_ANY_STATE, customer_external_id=found.customer).order_by("-pk")
    if found.order:
        mine = mine.filter(kind__in=ORDER_KINDS, subject=found.subject)
    if found.event:
        mine = mine.filter(kind=Kind.EVENT, subject=found.subject)
    return mine.filter(pk__lt=before) if before else mine


def _steps(entry: OutboxEntry, request: Delivery | None, decisions: Sequence[LogEntry]) -> Iterator[Step]:
    yield Step(entry.created_at, f"captured: {entry.get_kind_display()}")
    if request is not None:
        yield from _of_request(request)
    for decision in decisions:
        yield Step(decision.action_time, f"{decision.get_change_message()}, by {decision.user.get_username()}")
    yield _now(entry, request)
    for words in entry.adjustments:
        yield Step(None, f"adjusted: {words}", BUSY)


def _of_request(request: Delivery) -> Iterator[Step]:
    if request.started_at is None:
        yield Step(request.created_at, "composed, and ready to be sent", BUSY, request)
        return
    yield Step(request.started_at, "sent", PLAIN, request)
    if request.finished_at:
        status = f" ({request.status_code})" if request.status_code else ""
        tone = GOOD if request.outcome == Outcome.ACCEPTED else BUSY
        words = ANSWERS.get(Outcome(request.outcome or Outcome.DISSOLVED), "the request was never sent")
        yield Step(request.finished_at, f"{words}{status}", tone)


def _now(entry: OutboxEntry, request: Delivery | None) -> Step:
    if entry.status == Status.BUFFERED:
        words = "waits for Braze's answer" if request and request.started_at else "waits for its turn to be sent"
        return Step(None, words, BUSY)
    if entry.status == Status.PENDING:
        return Step(None, _waiting(entry), BUSY)
    tone, words = ENDS[Status(entry.status)]
    return Step(entry.settled_at, with_reason(words, entry.error), tone)


def _waiting(entry: OutboxEntry) -> str:
    if entry.parked:
        return f"waits for another change: {entry.error}" if entry.error else "waits for another change"
    words = f"waits until {entry.due_at:%H:%M:%S} UTC" if entry.due_at else "waits to be composed"
    in_doubt = entry.kind == Kind.EVENT and entry.error
    return f"{words}, to be sent again though it may have arrived: {entry.error}" if in_doubt else words


def _decisions(entries: Sequence[OutboxEntry]) -> dict[int, list[LogEntry]]:
    """What people decided, by entry."""
    of_entries = ContentType.objects.get_for_model(OutboxEntry)
    logged = LogEntry.objects.filter(content_type=of_entries, object_id__in=[str(entry.pk) for entry in entries])
    by_entry: dict[int, list[LogEntry]] = defaultdict(list)
    for decision in logged.select_related("user").order_by("action_time"):
        by_entry[int(decision.object_id or 0)].append(decision)
    return by_entry


def _purchases(found: Found) -> "QuerySet[BrazePurchase]":
    if not found.order:
        return BrazePurchase.objects.none()
    rows = BrazePurchase.objects.filter(account=found.account, order_id=found.order)
    return rows.filter(customer_external_id=found.customer).order_by("pk")

"""Changes that failed or were skipped, grouped by reason."""

from dataclasses import dataclass

from django.db.models import Count, F, Max, QuerySet
from django.db.models.functions import MD5

from integrations.outbox.models import OutboxEntry

#: Most groups shown; the rest are rarer.
MOST = 12


@dataclass(frozen=True, slots=True)
class Reason:
    """A group of changes. `key` stands for the reason in URLs; `last` is the id of its newest change."""

    key: str
    words: str
    status: str
    count: int
    last: int


def grouped(entries: "QuerySet[OutboxEntry]") -> tuple[list[Reason], bool]:
    """The groups of these entries, the most frequent first; and whether there are more than these."""
    rows = entries.order_by().annotate(key=MD5("error")).values_list("key", "error", "status")
    groups = rows.annotate(number=Count("pk"), last=Max("pk")).order_by(F("number").desc(), "error")
    found = [
        Reason(key, words or "no reason given", status, count, last)
        for key, words, status, count, last in groups[: MOST + 1]
    ]
    return found[:MOST], len(found) > MOST


def only(entries: "QuerySet[OutboxEntry]", key: str) -> "QuerySet[OutboxEntry]":
    """The entries with the reason that `key` stands for."""
    return entries.alias(reason=MD5("error")).filter(reason=key)

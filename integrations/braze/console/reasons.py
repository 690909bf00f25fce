"""Changes that failed or were skipped, grouped by reason."""

from dataclasses import dataclass

from django.db.models import Count, F, Max, QuerySet
from django.db.models.functions import MD5

from integrations.outbox.models import OutboxEntry

#: Groups shown; the rest are rare.
MOST = 12


@dataclass(frozen=True, slots=True)
class Reason:
    """`key` names the reason in an address; `words` are its own."""

    key: str
    words: str
    status: str
    count: int
    last: int


def grouped(entries: "QuerySet[OutboxEntry]") -> list[Reason]:
    """The most frequent first."""
    rows = entries.order_by().annotate(key=MD5("error")).values_list("key", "error", "status")
    groups = rows.annotate(number=Count("pk"), last=Max("pk")).order_by(F("number").desc(), "error")
    return [
        Reason(key, words or "no reason given", status, count, last)
        for key, words, status, count, last in groups[:MOST]
    ]


def only(entries: "QuerySet[OutboxEntry]", key: str) -> "QuerySet[OutboxEntry]":
    return entries.alias(reason=MD5("error")).filter(reason=key)

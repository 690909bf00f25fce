"""Removes what Braze's words quote of an object: wherever these words are kept, and however they write it."""

import re
from collections.abc import Iterator
from typing import Any

from django.db.models import Model, QuerySet

from integrations.braze.models import BrazePurchase, BrazeState, Delivery, Outcome
from integrations.braze.models.ledger import MAX_WORDS, TRACKED
from integrations.outbox.models import OutboxEntry

REMOVED = "[removed]"
#: Shorter texts say nothing about a person, and are parts of other words.
SHORTEST = 3
#: Ids, and names that every shop has, at the top of an object and among its properties.
KEPT = frozenset({"external_id", "name", "product_id"})
KEPT_PROPERTIES = frozenset({"event_id", "order_id", "purchase_id"})
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.", re.DOTALL)
_CONTROLS = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\b": "\b", r"\f": "\f"}


def texts_of(sent: dict[str, Any]) -> set[str]:
    """Texts that Braze might quote from an object as it was sent, except ids and very short ones."""
    properties = sent.get("properties", {})
    inner = {name: value for name, value in properties.items() if name not in KEPT_PROPERTIES}
    outer = {name: value for name, value in sent.items() if name not in KEPT and name != "properties"}
    return {text for text in _texts([outer, inner]) if len(text) >= SHORTEST}


def without(words: str, texts: set[str]) -> str:
    """`words` without these texts, in whatever case and however JSON writes them; parts of other words stay.

    Words that were cut may end within one of them.
    """
    plain = _ESCAPE.sub(_unescaped, words)
    longest = sorted(texts, key=len, reverse=True)  # one text may be the beginning of another
    cleaned = _without_beginning(plain, longest) if len(words) == MAX_WORDS else plain
    if longest:
        pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)"
        cleaned = re.sub(pattern, REMOVED, cleaned, flags=re.IGNORECASE)
    return words if cleaned == plain else cleaned


def clear_reasons(request: Delivery, texts: set[str]) -> bool:
    """Remove the texts from the reasons of everything that was in this request, and from the account's last error.

    An error that names no object is the reason of many. In the caller's transaction. False if somebody had something
    locked: that is left.
    """
    rows: list[tuple[QuerySet[Any], str]] = [(BrazeState.objects.filter(account_id=request.account_id), "last_error")]
    if request.outcome in (Outcome.PARTIAL, Outcome.UNKNOWN):  # after any other, nothing keeps the answer as a reason
        rows += [(named.exclude(error=""), "error") for named in _named(request)]
    return all(_cleared(each, field, texts) for each, field in rows)


def _named(request: Delivery) -> "tuple[QuerySet[Any], QuerySet[Any]]":
    """The entries and the purchases that were in this request."""
    lines = [line for array in TRACKED for line in request.manifest.get(array, ())]
    entries = OutboxEntry.objects.filter(pk__among={pk for line in lines for pk in line["entries"]})
    return entries, BrazePurchase.objects.filter(pk__among=[line["purchase"] for line in lines if "purchase" in line])


def _cleared(rows: "QuerySet[Any]", field: str, texts: set[str]) -> bool:
    quoting = {pk for pk, words in rows.values_list("pk", field) if without(words, texts) != words}
    if not quoting:
        return True
    free: list[Model] = list(rows.filter(pk__in=quoting).select_for_update(skip_locked=True))
    for row in free:
        rows.filter(pk=row.pk).update(**{field: without(getattr(row, field), texts)})
    return len(free) == len(quoting)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _unescaped(escape: "re.Match[str]") -> str:
    """What JSON's escapes stand for; characters beyond 16 bits are escaped as two."""
    told = escape[0]
    if told.startswith("\\u"):
        return bytes.fromhex(told.replace("\\u", "")).decode("utf-16-be", "replace")
    return _CONTROLS.get(told, told[1:])


def _without_beginning(words: str, texts: list[str]) -> str:
    for text in texts:
        for length in range(len(text) - 1, SHORTEST - 1, -1):
            if words.lower().endswith(text[:length].lower()):
                return words[:-length] + REMOVED
    return words

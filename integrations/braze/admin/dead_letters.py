"""A failed sync as it was sent: each object, Braze's words, the request and its time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.console import sent
from integrations.braze.models import BrazePurchase, Delivery
from integrations.braze.recovery import resolution
from integrations.outbox.admin import link_to, pretty_json, to_the_second
from integrations.outbox.models import OutboxEntry

#: Objects shown of one entry; an order may have thousands of lines.
MOST = 50


@dataclass(frozen=True, slots=True)
class Letter:
    """A failed object. Without `request` it was never sent; without `payload` its contents are no longer kept."""

    words: str
    request: Delivery | None
    payload: Any


def letters(entry: OutboxEntry) -> list[Letter]:
    """The failed objects of an entry: the purchases of its order, or its one object."""
    if entry.kind in ORDER_KINDS and (rows := list(resolution.purchases_of(entry).order_by("pk")[: MOST + 1])):
        return list(_of_purchases(rows))
    request = Delivery.objects.filter(pk=entry.batch).first() if entry.batch else None
    return [Letter(entry.error, request, _object(request, entry=entry.pk))]


def in_words(entry: OutboxEntry, with_contents: bool) -> SafeString:
    """HTML of the entry's letters, one below the other, so that it can be read on a phone."""
    found = letters(entry)
    cells = (_cells(letter, with_contents) for letter in found[:MOST])
    blocks = format_html_join("", '<div style="padding-bottom: 16px">{}<br>{}{}</div>', cells)
    more = f"Only the first {MOST} are shown." if len(found) > MOST else ""
    return format_html('<div style="min-width: 0; overflow-wrap: anywhere">{}{}</div>', blocks, more)


def _of_purchases(rows: list[BrazePurchase]) -> Iterator[Letter]:
    requests = Delivery.objects.in_bulk({row.delivery_id for row in rows if row.delivery_id})
    for row in rows:
        request = requests.get(row.delivery_id) if row.delivery_id else None
        words = f"{row.get_fate_display()}: {row.error or 'no answer'}"
        yield Letter(words, request, _object(request, purchase=row.pk) or _as_recorded(row))


def _as_recorded(row: BrazePurchase) -> dict[str, Any]:
    return {"purchase_id": row.purchase_id, "product_id": row.product_id, "price": row.price, "quantity": row.quantity}


def _object(request: Delivery | None, entry: int | None = None, purchase: int | None = None) -> Any:
    """The JSON object sent for an entry, or for a purchase's row; None if it is not there."""
    for _, line, item in sent.lines(request) if request else ():
        if line.get("purchase") == purchase if purchase is not None else entry in line["entries"]:
            return item
    return None


def _cells(letter: Letter, with_contents: bool) -> tuple[str, SafeString | str, SafeString | str]:
    payload = pretty_json(letter.payload) if letter.payload is not None else " Its contents are not kept."
    if not with_contents:
        payload = " Seeing what it carried needs the permission “Can view payloads”."
    return letter.words, _request(letter), payload


def _request(letter: Letter) -> SafeString | str:
    if (request := letter.request) is None:
        return "Never sent, or its request is no longer kept."
    link = link_to("admin:braze_delivery_change", request.pk)
    sent, answered = to_the_second(request.started_at), to_the_second(request.finished_at)
    answer = f"{request.status_code or 'no answer'} at {answered}"
    more = "" if request.answer in letter.words else request.answer
    return format_html("Request {}, sent {}, {}. {}", link, sent, answer, more)

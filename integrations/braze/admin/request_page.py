"""The contents of a request on its page, and who may see them."""

from collections.abc import Iterator
from typing import Any

import orjson
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from integrations.braze.console import sent
from integrations.braze.models import Delivery
from integrations.outbox.admin import link_to, pretty_json

HIDDEN = "It is personal data: seeing it needs the permission “Can view payloads”."
NOT_KEPT = "The contents of a request that was never sent are not kept."
#: Shown of each object; the payload below has all of it.
MOST_CHARACTERS = 300


def may_view_payloads(request: HttpRequest) -> bool:
    """What requests carried is personal data, so it has a permission of its own."""
    return request.user.has_perm("braze.view_payloads")


def personal(request: HttpRequest, field: str) -> str:
    """`field`, or "hidden", the name of the field that says that the permission is missing."""
    return field if may_view_payloads(request) else "hidden"


def payload(delivery: Delivery) -> str:
    return pretty_json(delivery.payload) if delivery.body else NOT_KEPT


def objects_table(delivery: Delivery, with_contents: bool) -> SafeString:
    """HTML: a row for each object with its customer, the captured changes behind it, and its JSON."""
    cells = _rows(delivery, with_contents)
    rows = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", cells)
    heading = "<thead><tr><th>kind</th><th>customer</th><th>changes</th><th>object</th></tr></thead>"
    return format_html(f'<table class="plain objects">{heading}<tbody>{{}}</tbody></table>', rows)


def _rows(delivery: Delivery, with_contents: bool) -> Iterator[tuple[str, str, SafeString, str]]:
    for array, line, item in sent.lines(delivery, with_contents):
        yield array[:-1], line["customer"], _entries(line["entries"]), _json(item)


def _entries(ids: list[int]) -> SafeString:
    return format_html_join(", ", "{}", ((link_to("admin:outbox_outboxentry_change", pk),) for pk in ids))


def _json(item: Any) -> str:
    text = orjson.dumps(item).decode() if item is not None else ""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"

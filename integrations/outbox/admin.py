"""The captured changes, read-only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from integrations.outbox.models import OPEN, Kind, OutboxEntry
from masivo_braze.console.lists import LongListAdmin
from masivo_braze.loyalty.models import Audience, Customer, Event, Order

#: Integration → name of the admin page of one of its requests. Filled by the integrations' own admins.
REQUEST_PAGES: dict[str, str] = {}
#: Integration → name of the admin page on which a person decides about a failed change.
DECISION_PAGES: dict[str, str] = {}
#: Kind of change → the model whose primary key is its subject.
SUBJECTS: dict[Kind, type[Model]] = {
    Kind.EVENT: Event,
    Kind.ORDER: Order,
    Kind.ORDER_LINE: Order,
    Kind.AUDIENCE_JOINED: Audience,
    Kind.AUDIENCE_LEFT: Audience,
    Kind.AUDIENCE_RENAMED: Audience,
}


class ReadOnlyAdmin(LongListAdmin):
    """For tables of millions: lists follow an index, searches match exact values, and nothing is counted twice."""

    sortable_by = ()
    actions: Sequence[str] | None = None

    def has_add_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search `search_fields` for the exact term, case included; a field that cannot hold the term is left out."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(pk__in=[])
        for name in self.search_fields:
            if (value := _as_value_of(self.model._meta.get_field(name), term)) is not None:
                found |= Q(**{name: value})
        return queryset.filter(found), False


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    list_display = ["id", "captured", "account", "kind", "customer_external_id", "outcome"]
    list_select_related = ["account"]
    list_filter = ["status", "kind", "account"]
    search_fields = ["customer_external_id", "id", "batch"]
    search_help_text = "An exact customer id, the number of a change, or the id of a request."
    fieldsets = [
        (None, {"fields": ["account", "integration", "kind", "customer_external_id", "about", "details"]}),
        (
            "What became of it",
            {"fields": ["status", "error", "decide", "adjusted", "sent_in", "due_at", "parked", "captured", "settled"]},
        ),
    ]
    readonly_fields = ["about", "details", "decide", "adjusted", "sent_in", "captured", "settled"]

    @admin.display(description="captured (UTC)")
    def captured(self, entry: OutboxEntry) -> str:
        return to_the_second(entry.created_at)

    @admin.display(description="settled (UTC)")
    def settled(self, entry: OutboxEntry) -> str:
        return to_the_second(entry.settled_at)

    @admin.display(description="adjustments")
    def adjusted(self, entry: OutboxEntry) -> str:
        return format_html_join(mark_safe("<br>"), "{}", ((words,) for words in entry.adjustments)) or "-"

    @admin.display(description="request")
    def sent_in(self, entry: OutboxEntry) -> str:
        if entry.batch is None or entry.integration not in REQUEST_PAGES:
            return str(entry.batch or "-")
        return link_to(REQUEST_PAGES[entry.integration], entry.batch)

    @admin.display(description="decide")
    def decide(self, entry: OutboxEntry) -> str:
        if entry.status not in OPEN or entry.integration not in DECISION_PAGES:
            return "-"
        page = reverse(DECISION_PAGES[entry.integration], args=(entry.pk,))
        return format_html('<a href="{}">Send again, treat as delivered or discard</a>', page)

    @admin.display(description="status")
    def outcome(self, entry: OutboxEntry) -> str:
        return Truncator(entry.outcome).chars(100)

    @admin.display(description="in Masivo")
    def about(self, entry: OutboxEntry) -> str:
        """Links to the records to look at or to correct: what the change is about, and its customer."""
        links = (
            (
                reverse(f"admin:loyalty_{record._meta.model_name}_change", args=(record.pk,)),
                record._meta.verbose_name,
                record,
            )
            for record in _records(entry)
        )
        return format_html_join(", ", '<a href="{}">{} {}</a>', links) or "no longer there"

    @admin.display(description="details")
    def details(self, entry: OutboxEntry) -> str:
        return pretty_json(entry.data) if entry.data else "-"


def _records(entry: OutboxEntry) -> Iterator[Model]:
    mine = {"account_id": entry.account_id}
    model = SUBJECTS.get(Kind(entry.kind))
    if model and entry.subject:
        yield from model._default_manager.filter(**mine, pk=entry.subject)
    yield from Customer.objects.filter(**mine, external_id=entry.customer_external_id)


def _as_value_of(field: Any, term: str) -> Any:
    try:
        return UUID(term) if field.get_internal_type() == "UUIDField" else field.to_python(term)
    except (ValueError, ValidationError):
        return None


def link_to(page: str, pk: Any) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(page, args=(pk,)), pk)


def to_the_second(time: datetime | None) -> str:
    """`2026-01-31 09:30:00`: Django's own format stops at minutes, and much happens in one."""
    return f"{timezone.localtime(time):%Y-%m-%d %H:%M:%S}" if time else "-"


def pretty_json(value: Any, most: int = 100_000) -> SafeString:
    """`value` as indented JSON, cut after `most` characters, with a note of how many were cut."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    cut = f"\n… {len(text) - most:,} more characters" if len(text) > most else ""
    return format_html(
        '<pre class="json">{}{}</pre>',
        text[:most],
        cut,
    )

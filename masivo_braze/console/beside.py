"""What integrations show beside Masivo's own records. They register it themselves: this package knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from masivo_braze.console.scoping import ScopedAdmin

#: From the records of one page of a list, all of one model, to a word on each by primary key, in one or two queries.
States = Callable[[Sequence[Any]], dict[Any, str]]
#: From one record to a panel for its page, or None.
Panel = Callable[[HttpRequest, Any], SafeString | None]

STATES: list[States] = []
PANELS: list[Panel] = []


class SyncedAdmin(ScopedAdmin):
    """Pages of records that integrations sync: the state of each stands beside it."""

    change_form_template = "admin/loyalty/synced_change_form.html"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The states of all rows of the page at once."""
        found = super().get_changelist_instance(request)
        found.result_list = list(found.result_list)
        for states in STATES:
            words = states(found.result_list)
            for row in found.result_list:
                row.sync_words = [*getattr(row, "sync_words", []), words.get(row.pk, "–")]
        return found

    @admin.display(description="sync")
    def sync(self, record: Model) -> SafeString:
        return format_html_join("; ", "{}", ((word,) for word in getattr(record, "sync_words", ())))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any | None = None,
    ) -> Any:
        panels = [panel(request, obj) for panel in PANELS] if obj is not None else []
        return super().render_change_form(request, context | {"panels": panels}, add, change, form_url, obj)

"""The list of skipped changes: what a rule kept from being sent, by reason."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from integrations.braze.admin.reasons import ByReasonAdmin, ReasonFilter, SettledFilter
from integrations.braze.console import ages
from integrations.braze.integration import NAME
from integrations.outbox.models import OutboxEntry, Status

#: Skipped changes have no index of their own: groups are made among this many of the newest changes.
NEWEST = 50_000


class SkippedSync(OutboxEntry):
    class Meta:
        proxy = True
        app_label = "braze"
        verbose_name = "skipped change"
        default_permissions = ("view",)


@admin.register(SkippedSync)
class SkippedSyncAdmin(ByReasonAdmin):
    list_display = ["id", "settled_short", "account", "kind", "customer_external_id", "why"]
    list_filter = [ReasonFilter, SettledFilter, "kind", "account"]
    nothing = "No change was skipped. A rule that skips one (a switched-off kind, nothing changed) is named here."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(integration=NAME, status=Status.SKIPPED)

    def to_group(self, listed: QuerySet[Any]) -> QuerySet[Any]:
        return listed.filter(pk__gt=ages.newest() - NEWEST)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": "Skipped changes", "grouped_of": NEWEST, **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description="reason")
    def why(self, entry: OutboxEntry) -> str:
        return entry.error

"""Lists of captured changes by reason: the groups above the list, filters by reason and day, and the CSV export."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from integrations.braze.console import exporting, reasons
from integrations.outbox.admin import OutboxEntryAdmin, to_the_second
from integrations.outbox.models import OutboxEntry


class ReasonFilter(admin.SimpleListFilter):
    """Chosen by a link in the groups above the list, so the filter itself offers only the reason chosen."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.value() or "", "the reason chosen")] if self.used_parameters.get("reason") else []

    def has_output(self) -> bool:
        return bool(self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return reasons.only(queryset, str(self.value())) if self.value() else queryset


class SettledFilter(admin.SimpleListFilter):
    """By day, in the time zone of the page."""

    title = "day"
    parameter_name = "day"
    field = "settled_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        today = timezone.localdate()
        days = [today - timedelta(days=back) for back in range(8)]
        words = ["today", "yesterday", *(f"{day:%A, %-d %B}" for day in days[2:])]
        return [(day.isoformat(), word) for day, word in zip(days, words, strict=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        try:
            start = timezone.make_aware(datetime.strptime(str(self.value()), "%Y-%m-%d"))
            end = start + timedelta(days=1)
        except (ValueError, OverflowError) as error:  # also for 9999-12-31, which has no next day
            raise IncorrectLookupParameters from error
        return queryset.filter(**{f"{self.field}__gte": start, f"{self.field}__lt": end})


class ByReasonAdmin(OutboxEntryAdmin):
    """A list with groups by reason above it, and an export as CSV under the same filters."""

    list_before_template = "admin/braze/reasons/groups.html"
    #: Shown if the list is empty although nothing is filtered.
    nothing = ""

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export_view)
        return [path("export/", export, name=f"braze_{self.opts.model_name}_export"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and (listed := (response.context_data or {}).get("cl")) is not None:
            query = request.GET.copy()
            for name in ("reason", "p"):
                query.pop(name, None)
            is_of_one_reason = bool(request.GET.get("reason"))
            groups, are_more = ([], False) if is_of_one_reason else reasons.grouped(self.to_group(listed.queryset))
            response.context_data = (response.context_data or {}) | {
                "groups": groups,
                "are_more_groups": are_more,
                "is_of_one_reason": is_of_one_reason,
                "query": query.urlencode(),
                "whole_query": request.GET.urlencode(),
                "nothing": "" if listed.has_active_filters or listed.query else self.nothing,
                "export_url": f"admin:braze_{self.opts.model_name}_export",
                "is_cut": getattr(listed.paginator, "is_cut", False),
                "most": listed.paginator.most,
            }
        return response

    def to_group(self, listed: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of the list that are grouped by reason."""
        return listed

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Everything that matches the list's filters, streamed as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            listed = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect(f"admin:braze_{self.opts.model_name}_changelist")
        name = f"{self.opts.model_name}-{timezone.localtime():%Y-%m-%d-%H%M}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
        return StreamingHttpResponse(exporting.rows(listed), content_type="text/csv; charset=utf-8", headers=headers)

    @admin.display(description="settled (UTC)")
    def settled_short(self, entry: OutboxEntry) -> str:
        return to_the_second(entry.settled_at)

"""The list of failed syncs: what Braze refused, and what may or may not have arrived, for a person to decide about."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html

from integrations.braze.admin import comparison, dead_letters, decisions
from integrations.braze.admin.arrival import address
from integrations.braze.admin.reasons import ByReasonAdmin, ReasonFilter, SettledFilter
from integrations.braze.admin.request_page import may_view_payloads
from integrations.braze.console import search
from integrations.braze.integration import NAME
from integrations.outbox.admin import DECISION_PAGES, to_the_second
from integrations.outbox.models import OPEN, OutboxEntry, Status

DECISION_PAGES[NAME] = "admin:braze_failedsync_change"


class FailedSync(OutboxEntry):
    """A captured change that waits for a person. The proxy has a permission of its own, to decide about it."""

    class Meta:
        proxy = True
        app_label = "braze"
        verbose_name = "failed sync"
        default_permissions = ("view", "change")


class OpenStatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(Status.REJECTED.value, "rejected: Braze refused it"), (Status.UNKNOWN.value, "unknown: may be there")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(FailedSync)
class FailedSyncAdmin(ByReasonAdmin):
    """Nothing is edited here: the permission to change a failed sync is the one to decide about it."""

    list_display = ["id", "failed_at", "account", "kind", "customer_external_id", "outcome"]
    list_filter = [OpenStatusFilter, ReasonFilter, SettledFilter, "kind", "account"]
    nothing = "Nothing waits for a decision: Braze has taken, or will be sent, all that was captured."
    actions = ("send_again", "treat_as_delivered", "discard")
    fieldsets = [
        (None, {"fields": ["account", "kind", "customer_external_id", "about", "arrival", "details"]}),
        ("What became of it", {"fields": ["status", "error", "adjusted", "captured", "failed_at"]}),
        ("As it was sent", {"fields": ["closed_letters"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(integration=NAME, status__in=OPEN)

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return request.user.has_perm("braze.change_failedsync")

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> Any:
        letters = "letters" if may_view_payloads(request) else "closed_letters"
        return [*self.fieldsets[:-1], ("As it was sent", {"fields": [letters]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> list[str]:
        return [str(name) for _, options in self.get_fieldsets(request, obj) for name in options["fields"]]

    def get_urls(self) -> list[URLPattern]:
        ask = self.admin_site.admin_view(self.ask_view)
        return [path("<int:pk>/ask/", ask, name="braze_failedsync_ask"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = {"title": "Failed syncs that wait for a decision"}
        return super().changelist_view(request, title | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A page to read, with the decisions below. It is never saved."""
        if request.method != "GET":
            raise PermissionDenied
        context = {
            "title": "Failed sync",
            "show_save": False,
            "show_save_and_continue": False,
            "may_decide": self.has_change_permission(request),
            "may_ask": may_view_payloads(request),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The captured change's own history: it remains when the change is no longer a failed sync."""
        self.admin_site.get_model_admin(OutboxEntry).get_object(request, object_id)  # raises Http404
        return redirect("admin:outbox_outboxentry_history", object_id)

    def ask_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask Braze about the customer, and show the answer beside what is believed here. Changes nothing.

        What Braze holds is personal data, on the timeline as here.
        """
        if not (self.has_change_permission(request) and may_view_payloads(request)):
            raise PermissionDenied
        entry = self.get_queryset(request).select_related("account").filter(pk=pk).first()
        if entry is None:
            raise Http404("This is no longer a failed sync.")
        if request.method != "POST":
            return redirect("admin:braze_failedsync_change", pk)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": f"What Braze has of {entry.customer_external_id}",
            "entry": entry,
            "may_decide": True,
            **comparison.asked(entry.account_id, entry.customer_external_id),
        }
        return TemplateResponse(request, "admin/braze/failedsync/asked.html", context)

    @admin.action(description="Send again", permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return decisions.decide(self, request, queryset, decisions.SEND_AGAIN)

    @admin.action(description="It did arrive: treat as delivered", permissions=["change"])
    def treat_as_delivered(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return decisions.decide(self, request, queryset, decisions.TREAT_AS_DELIVERED)

    @admin.action(description="Discard…", permissions=["change"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return decisions.decide(self, request, queryset, decisions.DISCARD)

    @admin.display(description="did it arrive?")
    def arrival(self, entry: OutboxEntry) -> str:
        page = address(search.customer(entry.account, entry.customer_external_id))
        return format_html('<a href="{}">All that became of customer {}</a>', page, entry.customer_external_id)

    @admin.display(description="failed (UTC)")
    def failed_at(self, entry: OutboxEntry) -> str:
        return to_the_second(entry.settled_at)

    @admin.display(description="objects")
    def letters(self, entry: OutboxEntry) -> str:
        return dead_letters.in_words(entry, with_contents=True)

    @admin.display(description="objects")
    def closed_letters(self, entry: OutboxEntry) -> str:
        return dead_letters.in_words(entry, with_contents=False)

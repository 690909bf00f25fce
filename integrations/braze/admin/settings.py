"""The settings page: where an operator connects an account to its workspace and picks what is sent."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, resolve, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from integrations.braze.account import activation, diagnosis
from integrations.braze.admin import customer_page, resend_page, settings_words
from integrations.braze.admin.failed_syncs import FailedSync
from integrations.braze.admin.forms import ANOTHER, SAME, BrazeSettingsForm
from integrations.braze.console import health
from integrations.braze.delivery import readiness
from integrations.braze.integration import NAME, TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.braze.models.account import BatchLimit, PauseKind
from integrations.outbox.admin import to_the_second
from integrations.outbox.clock import database_now
from integrations.outbox.models import OPEN, OutboxEntry
from masivo_braze.console import history
from masivo_braze.console.scoping import ScopedAdmin

TEST_BUTTON = (
    '<button type="submit" name="_test" value="1" form="brazesettings_form" class="btn">'
    "Save and test the connection</button>"
    '<p class="quiet">Asks Braze with the saved key and endpoint, and creates nothing there.</p>'
)
LEVELS = {"success": messages.SUCCESS, "warning": messages.WARNING, "error": messages.ERROR}


@admin.register(BrazeSettings)
class BrazeSettingsAdmin(ScopedAdmin):
    """Saving applies the settings at once, and resumes an account that Braze's refusal has paused."""

    form = BrazeSettingsForm
    change_form_before_template = "admin/braze/brazesettings/made_with.html"
    list_display = ["account", "state_in_short", "sends", "rest_endpoint"]
    list_select_related = ["account__braze_state"]
    list_filter = ["is_enabled"]
    search_fields = ["account__name", "account__slug"]
    ordering = ["account__name"]
    autocomplete_fields = ["account"]
    readonly_fields = ["state", "restored", "decide", "records", "connection", "resend", "endpoint"]
    actions = None
    conditional_fields = {"rest_endpoint": "instance_choice == 'other'"}
    workspace = ["instance_choice", "rest_endpoint", "api_key"]
    fieldsets = [
        ("What is sent", {"fields": list(TOPICS)}),
        (
            "Limits",
            {
                "classes": ["collapse"],
                "fields": [
                    "batch_limit",
                    "calls_per_window",
                    "window_seconds",
                    "calls_per_hour",
                    "attribute_gap_seconds",
                ],
            },
        ),
        ("When Braze's answer is lost", {"classes": ["collapse"], "fields": ["unknown_events", "unknown_purchases"]}),
    ]

    def get_urls(self) -> list[URLPattern]:
        resend = self.admin_site.admin_view(partial(resend_page.view, self))
        of_one = self.admin_site.admin_view(require_POST(customer_page.resend_view))
        return [
            path("<int:pk>/resend/", resend, name="braze_brazesettings_resend"),
            path("customer/<int:customer_id>/resend/", of_one, name="braze_resend_customer"),
            *super().get_urls(),
        ]

    @method_decorator(sensitive_post_parameters("api_key"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Save, and with the second button test what was saved: after the commit, since Braze may take its time."""
        is_test = "_test" in request.POST
        if is_test:
            request.POST = request.POST.copy()  # type: ignore[assignment]
            request.POST["_continue"] = "1"  # type: ignore[misc]
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        if is_test and isinstance(response, HttpResponseRedirect):
            self._test(request, resolve(urlsplit(response.url).path).kwargs["object_id"])
        return response

    def _test(self, request: HttpRequest, pk: str) -> None:
        settings = self.get_queryset(request).get(pk=pk)
        found = diagnosis.diagnose(settings)
        for finding in found:
            messages.add_message(request, LEVELS[finding.level], finding.words)
        history.note(request, settings, f"Tested the connection. {' '.join(finding.words for finding in found)}")

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The words of Health for all rows at once: for each by itself they would take a dozen queries."""
        listed: ChangeList = super().get_changelist_instance(request)
        rows = list(listed.result_list)
        found = health.overview([row.account for row in rows], database_now())
        words = {standing.account.pk: standing.words for standing in found}
        for row in rows:
            row.standing_in_words = words[row.account_id]
        listed.result_list = rows
        return listed

    def get_readonly_fields(self, request: HttpRequest, obj: BrazeSettings | None = None) -> list[str]:
        return [*self.readonly_fields, "account"] if obj else [*self.readonly_fields]

    def get_fieldsets(self, request: HttpRequest, obj: BrazeSettings | None = None) -> Any:
        """New settings have no state or records yet; those who may only view get nothing to type or press."""
        if not self.has_change_permission(request, obj) and not (obj is None and self.has_add_permission(request)):
            fields = ["account", "is_enabled", "state", "decide", "records", "endpoint"]
            return [(None, {"fields": fields}), *self.fieldsets]
        if obj is None:
            first = [(None, {"fields": ["account", "is_enabled"]})]
            return [*first, ("Workspace", {"fields": [*self.workspace, "connection"]}), *self.fieldsets]
        state = getattr(obj.account, "braze_state", None)
        restored = ["restored"] if state and state.pause_kind == PauseKind.RESTORED else []
        first = [(None, {"fields": ["account", "is_enabled", "state", *restored, "decide", "records", "resend"]})]
        replaces = ["workspace"] if obj.api_key or obj.key_ending or obj.rest_endpoint else []
        fields = [*self.workspace, *replaces, "connection"]
        return [*first, ("Workspace", {"fields": fields}), *self.fieldsets]

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False  # requests on their way need their settings: switch the account off instead

    def save_model(self, request: HttpRequest, obj: BrazeSettings, form: Any, change: bool) -> None:
        if form.replaced == SAME:
            activation.keep_mirror(obj.account_id, obj.rest_endpoint)
        super().save_model(request, obj, form, change)
        if form.replaced == ANOTHER:
            activation.forget_mirror(obj.account_id)
            messages.warning(request, resend_page.offer(obj))
        for warning in settings_words.warnings(request, obj):
            messages.warning(request, warning)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Old and new values, except for the key."""
        words = history.changes_in_words(form.before, form.instance, secret=("api_key",))
        if form.replaced:
            words += "; of another workspace" if form.replaced == ANOTHER else "; of the same workspace"
        return words

    @admin.display(description="connection")
    def connection(self, settings: BrazeSettings) -> str:
        return mark_safe(TEST_BUTTON)  # noqa: S308  # a constant

    @admin.display(description="REST endpoint")
    def endpoint(self, settings: BrazeSettings) -> str:
        """For those who may only view: without a choice of instance, the form would not show it."""
        return settings.rest_endpoint or "-"

    @admin.display(description="existing records")
    def resend(self, settings: BrazeSettings) -> str:
        page = reverse("admin:braze_brazesettings_resend", args=(settings.pk,))
        return format_html('<a href="{}">Send everything the account has…</a>', page)

    @admin.display(description="state")
    def state(self, settings: BrazeSettings) -> str:
        """As its Health page says it, if the account may send: whether it does depends on more than its settings."""
        state = getattr(settings.account, "braze_state", None)
        ready = readiness.judge(settings, state)
        words = _standing_in_words(settings) if ready.is_ready else settings_words.in_words(ready, state)
        if state and state.combined_at and settings.batch_limit == BatchLimit.COMBINED:
            words += (
                f". Switched itself to 75 objects a request in all at {to_the_second(state.combined_at)}, because "
                "Braze answered “Max Input Length Exceeded”"
            )
        return words

    @admin.display(description="state")
    def state_in_short(self, settings: BrazeSettings) -> str:
        return Truncator(self.state(settings)).chars(120)

    @admin.display(description="database restored")
    def restored(self, settings: BrazeSettings) -> str:
        return format_html(settings_words.RESTORED, settings.account.slug)

    @admin.display(description="failed syncs")
    def decide(self, settings: BrazeSettings) -> str:
        """How many failed syncs wait for a decision, as a link."""
        waiting = FailedSync.objects.filter(account_id=settings.account_id, integration=NAME, status__in=OPEN)
        if not (number := waiting.count()):
            return "none"
        page = reverse("admin:braze_failedsync_changelist", query={"account__id__exact": settings.account_id})
        return format_html('<a href="{}">{} to decide about</a>', page, f"{number:,}")

    @admin.display(description="sends")
    def sends(self, settings: BrazeSettings) -> str:
        on = [name for name in TOPICS if getattr(settings, name)]
        if len(on) == len(TOPICS):
            return "everything"
        return ", ".join(str(label_for_field(name, BrazeSettings)) for name in on) or "nothing"

    @admin.display(description="records")
    def records(self, settings: BrazeSettings) -> str:
        """Links to the lists of the account's captured changes, requests, purchases and profiles."""
        models = (OutboxEntry, Delivery, BrazePurchase, BrazeProfile)
        pages = ((_list_of(model, settings.account_id), model._meta.verbose_name_plural) for model in models)
        return format_html_join(", ", '<a href="{}">{}</a>', pages)


def _standing_in_words(settings: BrazeSettings) -> str:
    noted: str | None = getattr(settings, "standing_in_words", None)
    return noted or health.overview([settings.account], database_now())[0].words


def _list_of(model: type[Model], account_id: int) -> str:
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(page, query={"account__id__exact": account_id})

"""The settings page: where an operator connects an account to its workspace and picks what is sent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from django.views.decorators.debug import sensitive_post_parameters

from integrations.braze import endpoints, readiness
from integrations.braze.admin.failed_syncs import FailedSync
from integrations.braze.forms import BrazeSettingsForm
from integrations.braze.integration import NAME, TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.braze.resolution import OPEN
from integrations.outbox.admin import to_the_second
from integrations.outbox.models import OutboxEntry
from masivo_braze.console.scoping import ScopedAdmin

#: What a paused account whose database was restored needs; the only value is its slug.
RESTORED = (
    "<p>This database was put back to an earlier time: requests had already been sent that it no longer knows of. "
    "Sending on would double purchases and events, so nothing is sent, and saving these settings does not change that. "
    "Changes are captured meanwhile. Somebody with access to the server has to run, with the time at which the backup "
    'was taken:</p><pre style="white-space: pre-wrap; overflow-wrap: anywhere">'
    "python manage.py braze_restored --account {} --since 2026-01-31T09:30:00Z</pre>"
    "<p>Events and orders captured since then and not settled are then held as failed syncs of unknown outcome, to be "
    "decided about one by one or together; attributes are sent again, which does no harm; and the account goes on.</p>"
)


@admin.register(BrazeSettings)
class BrazeSettingsAdmin(ScopedAdmin):
    """Saving puts the settings in force at once, and is how a paused account is resumed."""

    form = BrazeSettingsForm
    list_display = ["account", "state_in_short", "sends", "rest_endpoint"]
    list_select_related = ["account__braze_state"]
    list_filter = ["is_enabled"]
    search_fields = ["account__name", "account__slug"]
    ordering = ["account__name"]
    autocomplete_fields = ["account"]
    readonly_fields = ["state", "restored", "decide", "records"]
    actions = None
    fieldsets = [
        (None, {"fields": ["account", "is_enabled", "state", "decide", "records"]}),
        ("Workspace", {"fields": ["api_key", "rest_endpoint"]}),
        ("What is sent", {"fields": list(TOPICS)}),
        (
            "Limits",
            {
                "classes": ["collapse"],
                "fields": ["batch_limit", "calls_per_window", "window_seconds", "calls_per_hour"],
            },
        ),
        ("When Braze's answer is lost", {"classes": ["collapse"], "fields": ["unknown_events", "unknown_purchases"]}),
    ]

    @method_decorator(sensitive_post_parameters("api_key"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        return response

    def get_readonly_fields(self, request: HttpRequest, obj: BrazeSettings | None = None) -> list[str]:
        return [*self.readonly_fields, "account"] if obj else [*self.readonly_fields]

    def get_fieldsets(self, request: HttpRequest, obj: BrazeSettings | None = None) -> Any:
        """Settings not yet saved have neither a state nor records."""
        if obj is None:
            return [(None, {"fields": ["account", "is_enabled"]}), *self.fieldsets[1:]]
        state = getattr(obj.account, "braze_state", None)
        restored = ["restored"] if state and state.pause_kind == PauseKind.RESTORED else []
        first = ["account", "is_enabled", "state", *restored, "decide", "records"]
        return [(None, {"fields": first}), *self.fieldsets[1:]]

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False  # requests on their way need their settings: switch the account off instead

    def save_model(self, request: HttpRequest, obj: BrazeSettings, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in _warnings(obj):
            messages.warning(request, warning)

    @admin.display(description="state")
    def state(self, settings: BrazeSettings) -> str:
        state = getattr(settings.account, "braze_state", None)
        return _in_words(readiness.judge(settings, state), state)

    @admin.display(description="state")
    def state_in_short(self, settings: BrazeSettings) -> str:
        return Truncator(self.state(settings)).chars(120)

    @admin.display(description="database restored")
    def restored(self, settings: BrazeSettings) -> str:
        return format_html(RESTORED, settings.account.slug)

    @admin.display(description="failed syncs")
    def decide(self, settings: BrazeSettings) -> str:
        """How many wait for a person."""
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
        """Links to the account's own, newest first."""
        models = (OutboxEntry, Delivery, BrazePurchase, BrazeProfile)
        pages = ((_list_of(model, settings.account_id), model._meta.verbose_name_plural) for model in models)
        return format_html_join(", ", '<a href="{}">{}</a>', pages)


def _list_of(model: type[Model], account_id: int) -> str:
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    return reverse(page, query={"account__id__exact": account_id})


def _in_words(ready: readiness.Readiness, state: BrazeState | None) -> str:
    if state and ready.state == "paused" and not state.paused_at:
        return (
            f"{ready.detail}, since {to_the_second(state.held_at)}. Nothing is lost; Resume on its health page goes on."
        )
    if state and ready.state == "paused":
        words = f"paused since {to_the_second(state.paused_at)}: {ready.detail}"
        if state.pause_kind == PauseKind.RESTORED:
            return words
        return f"{words}. Nothing is lost; saving these settings resumes the account."
    if state and ready.state == "backing off":
        return f"backing off until {to_the_second(state.backoff_until)}: {ready.detail}"
    return f"{ready.state}: {ready.detail}" if ready.detail else ready.state


def _warnings(settings: BrazeSettings) -> list[str]:
    """What an operator may not expect of settings that were accepted."""
    warnings = [endpoints.hint(settings.rest_endpoint)]
    ready = readiness.of(settings.account_id)
    if ready.state == "incomplete":
        warnings.append(f"Changes are captured, but nothing is sent until this is mended: {ready.detail}")
    if settings.is_enabled and not any(getattr(settings, toggle) for toggle in TOPICS):
        warnings.append("Nothing is captured: everything under “What is sent” is off.")
    return [warning for warning in warnings if warning]

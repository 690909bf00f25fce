"""The settings page: where an operator connects an account to its workspace and picks what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.text import Truncator
from django.views.decorators.debug import sensitive_post_parameters

from integrations.braze import endpoints, readiness
from integrations.braze.forms import BrazeSettingsForm
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.outbox.admin import to_the_second
from integrations.outbox.models import OutboxEntry

if TYPE_CHECKING:  # generic for the type checker alone
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(BrazeSettings)
class BrazeSettingsAdmin(ModelAdmin):
    """Saving puts the settings in force at once, and is how a paused account is resumed."""

    form = BrazeSettingsForm
    list_display = ["account", "state_in_short", "sends", "rest_endpoint"]
    list_select_related = ["account__braze_state"]
    list_filter = ["is_enabled"]
    search_fields = ["account__name", "account__slug"]
    ordering = ["account__name"]
    autocomplete_fields = ["account"]
    readonly_fields = ["state", "records"]
    actions = None
    fieldsets = [
        (None, {"fields": ["account", "is_enabled", "state", "records"]}),
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
        return self.fieldsets if obj else [(None, {"fields": ["account", "is_enabled"]}), *self.fieldsets[1:]]

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

"""The Health pages: the state of all accounts, and of one, with what can be done about it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone

from integrations.braze.account import steering
from integrations.braze.admin.pages import PageAdmin, visible_account, visible_accounts
from integrations.braze.console import health, rates
from integrations.braze.console.rates import Chart, Period
from integrations.braze.delivery import readiness
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.outbox.clock import database_now
from masivo_braze.console import history
from masivo_braze.loyalty.models import Account

#: Accounts that need attention come first.
ACCOUNTS_A_PAGE = 200


class AccountHealth(BrazeState):
    """An account's state, with a permission to look at it and one to pause and resume."""

    class Meta:
        proxy = True
        app_label = "braze"
        verbose_name = "account's health"
        verbose_name_plural = "health"
        default_permissions = ("view", "change")


@admin.register(AccountHealth)
class HealthAdmin(PageAdmin):
    def get_urls(self) -> list[URLPattern]:
        views = (
            ("", self.overview, "changelist"),
            ("*/now/", self.overview_now, "overview_now"),  # no form takes an asterisk in an account's slug
            ("<str:slug>/", self.account, "account"),
            ("<str:slug>/now/", self.account_now, "account_now"),
            ("<str:slug>/act/", self.act, "act"),
        )
        wrap = self.admin_site.admin_view
        return [path(route, wrap(view), name=f"braze_accounthealth_{name}") for route, view, name in views]

    def overview(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, "admin/braze/health/overview.html", "Health", **self._overview(request))

    def overview_now(self, request: HttpRequest) -> HttpResponse:
        return self.page(request, "admin/braze/health/overview_live.html", "Health", **self._overview(request))

    def account(self, request: HttpRequest, slug: str) -> HttpResponse:
        context = self._account(request, slug) | {"may_act": self.has_change_permission(request)}
        return self.page(request, "admin/braze/health/account.html", f"Health of {context['account']}", **context)

    def account_now(self, request: HttpRequest, slug: str) -> HttpResponse:
        return self.page(request, "admin/braze/health/account_live.html", "Health", **self._account(request, slug))

    def act(self, request: HttpRequest, slug: str) -> HttpResponse:
        """Pause, resume or try at once; recorded in the history of the account's settings."""
        account = visible_account(request, slug)
        if request.method != "POST" or not self.has_change_permission(request):
            raise PermissionDenied
        if said := _carried_out(request, account):
            _remember(request, account, said)
            messages.success(request, said)
        return redirect("admin:braze_accounthealth_account", slug)

    def _overview(self, request: HttpRequest) -> dict[str, Any]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        accounts, now = list(visible_accounts(request)), database_now()
        page = Paginator(accounts, ACCOUNTS_A_PAGE).get_page(request.GET.get("page"))
        standings = health.overview(accounts, now, slice(max(page.start_index() - 1, 0), page.end_index()))
        chart = rates.chart([account.pk for account in accounts], _period(request), now)
        return {"standings": standings, "page": page, **_charted(request, chart)}

    def _account(self, request: HttpRequest, slug: str) -> dict[str, Any]:
        account, now = visible_account(request, slug), database_now()
        if not self.has_view_permission(request):
            raise PermissionDenied
        chart = rates.chart([account.pk], _period(request), now)
        return {"account": account, "health": health.of(account, now), **_charted(request, chart)}


def _period(request: HttpRequest) -> Period:
    return Period.named(request.GET.get("period", ""))


def _charted(request: HttpRequest, chart: Chart) -> dict[str, Any]:
    """Context for a template: the chart as the script takes it, and the choice of periods."""
    period = _period(request)
    times = [time.isoformat() for time in chart.times]
    data = {"times": times, "objects": chart.objects, "failures": chart.failures, "period": period.word,
            "zone": timezone.get_current_timezone_name()}  # fmt: skip
    failures = {words: sum(counts) for words, counts in chart.failures.items() if any(counts)}
    sent = {kind: round(sum(rate) * period.step) for kind, rate in chart.objects.items()}
    return {"chart": data, "is_empty": chart.is_empty, "period": period, "periods": list(Period), "failures": failures,
            "sent": sent}  # fmt: skip


def _carried_out(request: HttpRequest, account: Account) -> str:
    """What was done, in words; "" if nothing was done, for which a warning is shown."""
    reason, by = request.POST.get("reason", "").replace("\0", "").strip()[:500], request.user.get_username()
    match request.POST.get("action"):
        case "pause":
            if steering.pause(account.pk, by, reason):
                return f"Paused{f': {reason}' if reason else ''}."
            state = BrazeState.objects.get(account=account)
            why = f"Nothing has changed: it was already {readiness.held_in_words(state)}"
        case "resume":
            try:
                if steering.resume(account.pk):
                    return "Resumed."
                why = "Nothing has changed: it is not paused."
            except steering.NotResumable as error:
                why = str(error)
        case "flush":
            try:
                steering.flush_now(account.pk)
                return "What is ready is tried now."
            except steering.NotFlushable as error:
                why = f"Nothing is tried: {error}"
        case _:
            raise PermissionDenied
    messages.warning(request, why)
    return ""


def _remember(request: HttpRequest, account: Account, words: str) -> None:
    if settings := BrazeSettings.objects.filter(account=account).first():
        history.note(request, settings, words)

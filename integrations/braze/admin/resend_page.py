"""The page that sends everything an account has: to a new workspace, or when it is first connected."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import redis
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from kombu.exceptions import OperationalError

from integrations.braze import tasks
from integrations.braze.integration import BrazeIntegration
from integrations.braze.models import BrazeSettings
from integrations.braze.recovery import backfill
from masivo_braze.console import history

if TYPE_CHECKING:
    from integrations.braze.admin.settings import BrazeSettingsAdmin


def view(page: BrazeSettingsAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    """Ask; after the confirmation, capture everything the account has, in the background."""
    settings = get_object_or_404(page.get_queryset(request), pk=pk)
    if not page.has_change_permission(request, settings):
        raise PermissionDenied
    if request.method == "POST":
        _start(request, settings)
        return redirect("admin:braze_brazesettings_change", pk)
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": "Send everything?",
        "settings": settings,
        "sends": page.sends(settings),
        "progress": backfill.progress(settings.account_id),
        "wants": bool(BrazeIntegration().wants(settings.account_id)),
    }
    return TemplateResponse(request, "admin/braze/brazesettings/resend.html", context)


def offer(settings: BrazeSettings) -> str:
    address = reverse("admin:braze_brazesettings_resend", args=(settings.pk,))
    words = 'What Braze had is forgotten here. <a href="{}" class="underline">Send everything to the new workspace…</a>'
    return format_html(words, address)


def _start(request: HttpRequest, settings: BrazeSettings) -> None:
    backfill.begin(settings.account_id)
    with suppress(redis.RedisError, OperationalError, OSError):  # the periodic tick finds it, too
        tasks.backfill.delay(settings.account_id)
    history.note(request, settings, "Sent everything the account has")
    messages.success(request, "Everything the account has is being captured, and is sent like any other change.")

"""The admin's pages of failed syncs, as a person uses them."""

import re
from collections import Counter
from html import unescape
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from integrations.outbox.models import OutboxEntry

LIST = "/admin/braze/failedsync/"


def act(client: Client, action: str, entries: list[OutboxEntry], **more: Any) -> str:
    data = {"action": action, "_selected_action": [entry.pk for entry in entries], **more}
    return text_of(client.post(LIST, data, follow=True))


def confirm(client: Client, action: str, page: str, **more: Any) -> str:
    """Send the form of the page that asks."""
    found = dict(re.findall(r'<input type="hidden" name="(chosen|shown|_selected_action)" value="([^"]*)">', page))
    return text_of(client.post(LIST, {"action": action, **found, **more}, follow=True))


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return unescape(response.content.decode())


def said(page: str) -> list[str]:
    found = re.findall(r'class="[^"]* bg-(?:green|orange)-100 [^"]*">(.*?)</div>', page, re.DOTALL)
    return [words.strip() for words in found]


def allow(user: User, *names: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=names))


def fates() -> dict[str, int]:
    return Counter(OutboxEntry.objects.exclude(kind__startswith="customer").values_list("status", flat=True))


def entry_page(client: Client, entry: OutboxEntry) -> str:
    return text_of(client.get(reverse("admin:braze_failedsync_change", args=(entry.pk,))))

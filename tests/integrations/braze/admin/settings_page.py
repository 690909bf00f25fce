"""The settings page of an account, as an operator uses it."""

import re
from html import unescape
from typing import Any

from django.test import Client
from django.urls import reverse

from integrations.braze.models import BrazeSettings
from masivo_braze.loyalty.models import Account

KEY = "9c1d4f7e-0000-4000-8000-5b6c7d8ea1b2"
ENDPOINT = "https://rest.iad-01.braze.com"
ADD = "/admin/braze/brazesettings/add/"
LIMITS = {
    "batch_limit": "per_array",
    "calls_per_window": "3000",
    "window_seconds": "3",
    "calls_per_hour": "",
    "attribute_gap_seconds": "2",
    "unknown_events": "resend",
    "unknown_purchases": "hold",
}


class Page:
    """The settings page of one account, as a browser uses it: `save` submits the whole form."""

    def __init__(self, client: Client, account: Account) -> None:
        self.client, self.account = client, account

    @property
    def url(self) -> str:
        stored = BrazeSettings.objects.filter(account=self.account).first()
        return reverse("admin:braze_brazesettings_change", args=(stored.pk,)) if stored else ADD

    def read(self) -> str:
        return self._text(self.client.get(self.url))

    def save(self, **typed: Any) -> str:
        """What the page that follows says; a toggle is on where it is given as True."""
        data = {"account": self.account.pk, "api_key": "", "rest_endpoint": "", **LIMITS, **typed}
        data = {name: value for name, value in data.items() if value is not False} | {"_continue": "1"}
        return self._text(self.client.post(self.url, data, follow=True))

    def _text(self, response: Any) -> str:
        assert response.status_code == 200
        assert KEY not in response.content.decode()
        return unescape(response.content.decode())


def stored() -> BrazeSettings:
    return BrazeSettings.objects.get()


def warnings(text: str) -> list[str]:
    return [words.strip() for words in re.findall(r'class="[^"]* bg-orange-100 [^"]*">(.*?)</div>', text, re.DOTALL)]


def errors(text: str) -> list[str]:
    return [error for found in re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text) for error in _items(found)]


def _items(html: str) -> list[str]:
    return re.findall(r"<li>(.*?)</li>", html)

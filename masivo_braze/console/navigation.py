"""The sidebar: the list of pages, in an operator's words. Each page is shown to those who may open it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse


@dataclass(frozen=True, slots=True)
class Page:
    """An entry: its title, a Material Symbol, the name of its URL, and permissions, any of which opens it."""

    title: str
    icon: str
    url_name: str
    permissions: tuple[str, ...]

    def is_open_to(self, request: HttpRequest) -> bool:
        return any(request.user.has_perm(permission) for permission in self.permissions)


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    pages: Sequence[Page]


def _list_of(title: str, icon: str, app: str, model: str) -> Page:
    """The list of a model, open to those who may view or change it."""
    permissions = (f"{app}.view_{model}", f"{app}.change_{model}")
    return Page(title, icon, f"admin:{app}_{model}_changelist", permissions)


SECTIONS = (
    Section(
        "Braze",
        (
            _list_of("Health", "monitor_heart", "braze", "accounthealth"),
            _list_of("Did it arrive?", "travel_explore", "braze", "arrival"),
            _list_of("Failed syncs", "sync_problem", "braze", "failedsync"),
            _list_of("Skipped changes", "skip_next", "braze", "skippedsync"),
            _list_of("Requests", "outbox", "braze", "delivery"),
            _list_of("Captured changes", "history", "outbox", "outboxentry"),
            _list_of("Purchases sent", "receipt_long", "braze", "brazepurchase"),
            _list_of("Profiles in Braze", "badge", "braze", "brazeprofile"),
            _list_of("Braze settings", "tune", "braze", "brazesettings"),
        ),
    ),
    Section(
        "Masivo",
        (
            _list_of("Customers", "person", "loyalty", "customer"),
            _list_of("Events", "bolt", "loyalty", "event"),
            _list_of("Orders", "shopping_bag", "loyalty", "order"),
            _list_of("Audiences", "groups", "loyalty", "audience"),
        ),
    ),
    Section(
        "Who may do what",
        (
            _list_of("Accounts", "storefront", "loyalty", "account"),
            _list_of("People", "manage_accounts", "auth", "user"),
            _list_of("Groups", "shield_person", "auth", "group"),
        ),
    ),
)


def home(request: HttpRequest) -> HttpResponse:
    """Leads to the first page of the sidebar that this person may open; if there is none, to Django's index."""
    opened = (page for section in SECTIONS for page in section.pages if page.is_open_to(request))
    first = next(opened, None)
    return redirect(first.url_name) if first else admin.site.index(request)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar as the theme expects it, without sections of which this person may open nothing."""
    found = (_section(section, request) for section in SECTIONS)
    return [section for section in found if section["items"]]


def _section(section: Section, request: HttpRequest) -> dict[str, Any]:
    pages = [page for page in section.pages if page.is_open_to(request)]
    items = [{"title": page.title, "icon": page.icon, "link": reverse(page.url_name)} for page in pages]
    return {"title": section.title, "items": items}

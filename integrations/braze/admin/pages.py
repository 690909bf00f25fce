"""What the console's own pages share: the admin they live in, and the accounts a person may see in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from masivo_braze.console.base import ModelAdmin
from masivo_braze.console.scoping import accounts_of
from masivo_braze.loyalty.models import Account

#: Of a primary key: what every database holds in a large integer.
MOST_DIGITS = 18


class PageAdmin(ModelAdmin):
    """A page of its own in the place of a model's list: it has the model's permissions, and no forms."""

    def has_add_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.model._meta, "title": title}
        return TemplateResponse(request, template, shared | context)


def visible_accounts(request: HttpRequest) -> QuerySet[Account]:
    return accounts_of(request.user).order_by("name")


def visible_account(request: HttpRequest, slug: str) -> Account:
    """Raises `Http404` for an account that is not there, or not this person's."""
    if (account := visible_accounts(request).filter(slug=slug).first()) is None:
        raise Http404("There is no such account.")
    return account


def ids_among(words: Iterable[str]) -> set[int]:
    """Those that a database may have as primary keys."""
    return {int(word) for word in words if word.isdecimal() and len(word) <= MOST_DIGITS}

"""What the pages that are not a model's list have in common: their admin class, and the accounts they may show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from masivo_braze.console.base import ModelAdmin
from masivo_braze.console.scoping import accounts_of
from masivo_braze.loyalty.models import Account

#: Digits of a primary key that fit into a large integer of every database.
MOST_DIGITS = 18


class PageAdmin(ModelAdmin):
    """A page in place of a model's list, with the model's permissions and no forms."""

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
    """Raises `Http404` if there is no such account, or it is not this person's."""
    if (account := visible_accounts(request).filter(slug=slug).first()) is None:
        raise Http404("There is no such account.")
    return account


def ids_among(words: Iterable[str]) -> set[int]:
    """The words that can be primary keys, as numbers."""
    return {int(word) for word in words if word.isdecimal() and len(word) <= MOST_DIGITS}

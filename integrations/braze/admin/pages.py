"""What the console's own pages share: the admin they live in, and the accounts a person may see in them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from masivo_braze.console.base import ModelAdmin
from masivo_braze.loyalty.models import Account

#: Looked up, or listed, at once.
MOST_ACCOUNTS = 200


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
    """The accounts that a person is a member of; all of them for a superuser."""
    accounts = Account.objects.order_by("name")
    return accounts if request.user.is_superuser else accounts.filter(members=request.user.pk)


def visible_account(request: HttpRequest, slug: str) -> Account:
    """Raises `Http404` for an account that is not there, or not this person's."""
    if (account := visible_accounts(request).filter(slug=slug).first()) is None:
        raise Http404("There is no such account.")
    return account


def may_see_payloads(request: HttpRequest) -> bool:
    return request.user.has_perm("braze.view_payload")

"""Who sees what: a person's accounts, and the base classes of pages, which show and accept nothing of other accounts.

A page of records is built on `ScopedAdmin` (an inline on `ScopedInline`), and its `account_path` names the look-up from
its model to the account. A separate view starts from `accounts_of(request.user)` or `within(...)`.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import RelatedFieldListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Field, ForeignKey, Model, QuerySet
from django.http import Http404, HttpRequest

from masivo_braze.console.base import TabularInline
from masivo_braze.console.crafted import CarefulAdmin
from masivo_braze.loyalty.models import Account


def accounts_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Account]:
    """The accounts that a person may see and act on: those they are a member of; for a superuser, all."""
    if getattr(user, "is_superuser", False):
        return Account.objects.all()
    return Account.objects.filter(members=user.pk) if user.pk else Account.objects.none()


def within(rows: QuerySet[Any], user: AbstractBaseUser | AnonymousUser, account_path: str = "account") -> QuerySet[Any]:
    """The `rows` that belong to the person's accounts."""
    if getattr(user, "is_superuser", False):
        return rows
    return rows.filter(**{f"{account_path}__in": accounts_of(user).order_by().values("pk")})


class AccountFilter(RelatedFieldListFilter):
    """Offers the person's own accounts."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        mine = {"pk__in": accounts_of(request.user)}
        return list(field.get_choices(include_blank=False, limit_choices_to=mine))


class ScopedChoices:
    """For forms: a foreign key can be set to what its model's own page would list for this person."""

    admin_site: Any

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        page = self.admin_site._registry.get(db_field.related_model)
        if isinstance(page, ScopedAdmin):
            kwargs.setdefault("queryset", page.get_queryset(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


class ScopedInline(ScopedChoices, TabularInline):
    """The rows of a page that is scoped itself."""


class ScopedAdmin(ScopedChoices, CarefulAdmin):
    """Lists, searches, filters, actions, forms and URLs only know records of the person's accounts; others are 404."""

    account_path = "account"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return within(super().get_queryset(request), request.user, self.account_path)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Model:
        """Raises `Http404`, instead of redirecting to the index as Django does."""
        found: Model | None = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        return found

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [(each, AccountFilter) if self._is_account(each) else each for each in super().get_list_filter(request)]

    def _is_account(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        last: Field[Any, Any] = get_fields_from_path(self.model, name)[-1]
        return last.related_model is Account

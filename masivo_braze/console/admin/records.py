"""The admin of Masivo's records. What is saved or deleted here is captured like any other change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from masivo_braze.console.beside import SyncedAdmin
from masivo_braze.console.lists import LongListAdmin, time_column
from masivo_braze.console.scoping import ScopedAdmin, ScopedInline
from masivo_braze.loyalty.json_values import validate_data
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine

#: Members of a larger audience are not edited on its page: it would hold a form for each.
MAX_MEMBERS_INLINE = 200


class JSONObjectField(forms.JSONField):
    """A JSON object; an empty one if left empty. What Python cannot parse (too deep, too many digits) is an error."""

    default_validators = [validate_data]

    def to_python(self, value: Any) -> Any:
        try:
            parsed = super().to_python(value)
        except (RecursionError, ValueError) as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": "…"}) from error
        return {} if parsed is None else parsed

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What the form shows again.

        Refused text as it was typed, since not all of it can be parsed and written again.
        """
        try:
            bound = super().bound_data(data, initial)
            validate_data(bound)
        except (RecursionError, ValueError, ValidationError):
            return data if self.disabled or data is None else InvalidJSONInput(data)
        return bound


class RecordAdmin(SyncedAdmin, LongListAdmin):
    formfield_overrides = {
        models.JSONField: {"form_class": JSONObjectField, "widget": UnfoldAdminExpandableTextareaWidget}
    }


class FixedAccountAdmin(RecordAdmin):
    """The account of a saved record is shown, and takes part in the checks of uniqueness, but cannot change."""

    def get_form(
        self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Any]]:
        form: type[ModelForm[Any]] = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None and "account" in form.base_fields:
            form.base_fields["account"].disabled = True
        return form


def _relations(model: type[Model]) -> list[Any]:
    """The foreign keys to the model, including those without a reverse accessor."""
    found = model._meta.get_fields(include_hidden=True)
    return [each for each in found if each.auto_created and (each.one_to_many or each.one_to_one)]


def _deletes(model: type[Model]) -> str:
    return f"{model._meta.app_label}.{get_permission_codename('delete', model._meta)}"


@admin.register(Account)
class AccountAdmin(ScopedAdmin):
    account_path = "pk"
    list_display = ["name", "slug", "currency", "time_zone"]
    search_fields = ["name", "slug"]
    autocomplete_fields = ["members"]
    prepopulated_fields = {"slug": ["name"]}

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[Any], list[Any]]:
        """Counts what would be deleted with an account, and what prevents it; Django would load each of these rows.

        What no page deletes by itself (settings, captured changes) goes with its account, given the permissions.
        """
        counts, keeping = {str(Account._meta.verbose_name_plural): len(objs)}, []
        lacking: set[Any] = set() if self.has_delete_permission(request) else {Account._meta.verbose_name}
        for relation in _relations(Account):
            model, meta = relation.related_model, relation.related_model._meta
            if not (number := model._base_manager.filter(**{f"{relation.field.name}__in": objs}).count()):
                continue
            if relation.on_delete is models.PROTECT:
                keeping.append(f"{number:,} {meta.verbose_name_plural}")
                continue
            counts[str(meta.verbose_name_plural)] = number
            if self.admin_site.is_registered(model) and not request.user.has_perm(_deletes(model)):
                lacking.add(meta.verbose_name)
        return [*map(str, objs)], counts, lacking, keeping


@admin.register(Customer)
class CustomerAdmin(FixedAccountAdmin):
    list_display = ["external_id", "account", "email", "tier", time_column("updated_at"), "sync"]
    list_select_related = ["account"]
    list_filter = ["account", "is_anonymous"]
    search_fields = ["external_id", "email", "first_name", "last_name"]
    autocomplete_fields = ["account"]
    fields = [
        "account", "external_id", "is_anonymous", "email", "phone", "first_name", "last_name", "gender", "birth_date",
        "country", "city", "language", "time_zone", "tier", "points", "tags", "created_at", "updated_at",
    ]  # fmt: skip
    readonly_fields = ["created_at", "updated_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Customer | None = None) -> list[str]:
        return [*self.readonly_fields, "external_id"] if obj else [*self.readonly_fields]


@admin.register(Event)
class EventAdmin(RecordAdmin):
    list_display = ["id", "type", "customer", "account", time_column("occurred_at"), "sync"]
    list_select_related = ["account", "customer"]
    list_filter = ["account", "occurred_at"]
    search_fields = ["type", "customer__external_id"]
    autocomplete_fields = ["account", "customer"]
    ordering = ["-occurred_at"]


class OrderLineInline(ScopedInline):
    model = OrderLine
    extra = 0
    formfield_overrides = RecordAdmin.formfield_overrides


@admin.register(Order)
class OrderAdmin(RecordAdmin):
    list_display = ["order_id", "account", "customer", "status", time_column("fulfilled_at"), "sync"]
    list_select_related = ["account", "customer"]
    list_filter = ["account", "status", "placed_at"]
    search_fields = ["order_id", "customer__external_id"]
    autocomplete_fields = ["account", "customer"]
    inlines = [OrderLineInline]


@admin.register(OrderLine)
class OrderLineAdmin(RecordAdmin):
    account_path = "order__account"
    list_display = ["order", "position", "sku", "quantity", "value", "sync"]
    list_select_related = ["order__customer"]
    list_filter = ["order__account", "order__status"]
    search_fields = ["sku", "name", "order__order_id"]
    autocomplete_fields = ["order"]


class MembershipInline(ScopedInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["customer"]
    readonly_fields = ["joined_at"]

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return False  # a membership is made and ended; there is nothing in it to change


@admin.register(Audience)
class AudienceAdmin(FixedAccountAdmin):
    list_display = ["name", "account", "audience_id", "sync"]
    list_select_related = ["account"]
    list_filter = ["account"]
    search_fields = ["name", "audience_id"]
    ordering = ["name"]
    autocomplete_fields = ["account"]

    def get_inlines(self, request: HttpRequest, obj: Audience | None) -> list[type[Any]]:
        is_small = obj is None or obj.memberships.all()[: MAX_MEMBERS_INLINE + 1].count() <= MAX_MEMBERS_INLINE
        return [MembershipInline] if is_small else []

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[Any], list[Any]]:
        """Counts the members that leave; Django would list each of them."""
        members = Membership.objects.filter(audience__in=[obj.pk for obj in objs]).count()
        counts = {
            str(Audience._meta.verbose_name_plural): len(objs),
            str(Membership._meta.verbose_name_plural): members,
        }
        lacking: set[Any] = set() if self.has_delete_permission(request) else {Audience._meta.verbose_name}
        return [*map(str, objs), f"{members} memberships"], counts, lacking, []


@admin.register(Membership)
class MembershipAdmin(RecordAdmin):
    account_path = "audience__account"
    list_display = ["customer", "audience", time_column("joined_at"), "sync"]
    list_select_related = ["customer", "audience"]
    list_filter = ["audience__account"]
    search_fields = ["customer__external_id", "audience__name"]
    autocomplete_fields = ["audience", "customer"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # a membership is made and ended; there is nothing in it to change

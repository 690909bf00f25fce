"""Handles URLs and forms that no page produced: values that fields cannot hold get a message, not a server error."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponse

from masivo_braze.console.base import ModelAdmin


class CarefulAdmin(ModelAdmin):
    """The base of every model's admin."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Raises `IncorrectLookupParameters` also for filters that only the database would refuse."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError) as error:
            if not request.GET:
                raise
            raise IncorrectLookupParameters from error

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Values from the URL for the form's fields, without those that the fields cannot hold."""
        initial = {}
        for name, value in super().get_changeform_initial_data(request).items():
            try:
                initial[name] = self._as_held(name, value)
            except ValidationError:
                continue
        return initial

    def _as_held(self, name: str, value: Any) -> Any:
        try:
            field = self.opts.get_field(name)
        except FieldDoesNotExist:
            return value
        if isinstance(value, list):
            return [_value(field, each) for each in value]
        return _value(field, value)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **more: Any
    ) -> HttpResponse | None:
        """Refuse ticked values that cannot be primary keys, for which Django would query."""
        try:
            for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
                _value(self.opts.pk, chosen)
        except ValidationError:
            messages.warning(request, f"What was chosen is no {self.opts.verbose_name}.")
            return None
        return super().response_action(request, queryset, *args, **more)


def _value(field: Any, typed: str) -> Any:
    """The typed value in the field's type.

    Raises `ValidationError` if it has another type or does not fit the column.
    """
    held: Field[Any, Any] = field.target_field if field.is_relation else field
    value = held.to_python(typed)
    held.run_validators(value)
    return value

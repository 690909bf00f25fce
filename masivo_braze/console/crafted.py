"""Addresses and forms that no page of the console made: what the fields cannot hold gets a word, not a server error."""

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
    """Of any model."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Raises `IncorrectLookupParameters`, too, for filters that only the database finds fault with."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError) as error:
            if not request.GET:
                raise
            raise IncorrectLookupParameters from error

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What the address fills in, as its fields hold it; what they cannot hold is left out."""
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
        """Without a word about what is no record, Django would look for it."""
        try:
            for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME):
                _value(self.opts.pk, chosen)
        except ValidationError:
            messages.warning(request, f"What was chosen is no {self.opts.verbose_name}.")
            return None
        return super().response_action(request, queryset, *args, **more)


def _value(field: Any, typed: str) -> Any:
    """Raises `ValidationError` for what is not of the field's type, or too large for its column."""
    held: Field[Any, Any] = field.target_field if field.is_relation else field
    value = held.to_python(typed)
    held.run_validators(value)
    return value

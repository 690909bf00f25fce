"""Who did what and when, in Django's own history of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Field, Model
from django.http import HttpRequest


def note(request: HttpRequest, record: Model, words: str) -> None:
    """Record a manual action in the record's history."""
    LogEntry.objects.log_actions(request.user.pk, [record], CHANGE, words, single_object=True)  # type: ignore[call-overload]  # somebody is logged in


def snapshot(record: Model) -> dict[str, Any]:
    """The values of a record's fields, for a later comparison."""
    return {field.name: field.value_from_object(record) for field in record._meta.concrete_fields}


def changes_in_words(before: Mapping[str, Any], record: Model, secret: tuple[str, ...] = ()) -> str:
    """Each changed field with its old and new value; of those in `secret`, only that they were replaced."""
    fields = [field for field in record._meta.concrete_fields if field.editable and not field.primary_key]
    changed = [field for field in fields if before[field.name] != field.value_from_object(record)]
    return "; ".join(_change(field, before, record, field.name in secret) for field in changed) or "Nothing changed"


def _change(field: Field[Any, Any], before: Mapping[str, Any], record: Model, is_secret: bool) -> str:
    label = field.verbose_name[:1].upper() + field.verbose_name[1:]
    if is_secret:
        return f"{label} replaced"
    return f"{label}: {_words(field, before[field.name])} → {_words(field, field.value_from_object(record))}"


def _words(field: Field[Any, Any], value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(dict(field.flatchoices).get(value, value)) if value not in (None, "") else "nothing"

"""Every URL of the admin, filled with one account's records: what another account's people must not reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver, reverse

#: Of URLs that name no record but themselves: pages of the theme and of Django that every person may open, or none.
WITHOUT_RECORDS = {"view_on_site", "app_list", None}


@dataclass(frozen=True, slots=True)
class Address:
    name: str
    url: str
    names_a_record: bool


def addresses(records: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[Address]:
    """All of them. `records`: a primary key by `<app>_<model>`; `others`: values of arguments that are no primary key.

    Raises `LookupError` for a URL that it cannot fill: a new kind of page has to say whose it is.
    """
    for pattern in _patterns(get_resolver().url_patterns):
        if pattern.name in WITHOUT_RECORDS:
            continue
        arguments = {name: _value(pattern, name, records, others) for name in pattern.pattern.converters}
        yield Address(pattern.name, reverse(f"admin:{pattern.name}", kwargs=arguments), bool(arguments))


def _patterns(patterns: list[Any]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern


def _value(pattern: URLPattern, name: str, records: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    if name in others:
        return others[name]
    labels = (f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry)
    found = [label for label in labels if str(pattern.name).startswith(f"{label}_")]
    label = max(found, key=len, default="")
    if label in records:
        return records[label]
    raise LookupError(f"{pattern.name}: no value for “{name}”. Add it to the records of tests/console/test_scoping.py.")

"""Brings rows in line with what a file says of them, writing (and so capturing) only those that differ."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.utils import timezone

from masivo_braze.loyalty.json_values import same_json
from masivo_braze.loyalty.models.record import Record
from masivo_braze.loyalty.querysets import RecordQuerySet

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The values a row is to have: `key` says which row, `fixed` complete a new one, `values` are from the file."""

    key: Any
    fixed: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Upserted(Generic[R]):
    rows: dict[Any, R]
    counts: Counter[str]


def upsert(queryset: RecordQuerySet[R], existing: Mapping[Any, R], wanted: Sequence[Wanted]) -> Upserted[R]:
    """Create or update one row per key; of several `Wanted` for one key, later values win.

    `existing` are the stored rows by key, locked by the caller, in whose transaction this runs.
    """
    rows, changed = dict(existing), dict[Any, set[str]]()
    for want in wanted:
        if want.key not in rows:
            rows[want.key] = queryset.model(**want.fixed, **want.values)
        elif names := _assign(rows[want.key], want.values):
            changed.setdefault(want.key, set()).update(names)
    keys = {want.key for want in wanted}
    created = [rows[key] for key in rows if key not in existing]
    updated = {key: names for key, names in changed.items() if key in existing}
    if len(wanted) == 1 and (created or updated):
        rows[wanted[0].key].full_clean()  # says in words what the database would say in constraints
    queryset.bulk_create(created)
    _update(queryset, [rows[key] for key in updated], set().union(*updated.values()))
    counts = {"created": len(created), "changed": len(updated), "unchanged": len(keys) - len(created) - len(updated)}
    return Upserted(rows, Counter(counts))


def _assign(row: Record, values: Mapping[str, Any]) -> set[str]:
    """Set the values that differ; returns their names."""
    names = {name for name, value in values.items() if not same_json(getattr(row, name), value)}
    for name in names:
        setattr(row, name, values[name])
    return names


def _update(queryset: RecordQuerySet[R], rows: Sequence[R], names: set[str]) -> None:
    if not rows:
        return
    if any(field.name == "updated_at" for field in queryset.model._meta.concrete_fields):
        names = {*names, "updated_at"}  # as save() would; bulk_update leaves it to the caller
        for row in rows:
            row.updated_at = timezone.now()  # type: ignore[attr-defined]
    queryset.bulk_update(rows, sorted(names))

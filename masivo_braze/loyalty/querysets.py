"""Querysets whose bulk operations send signals, as `save()` does: see `signals`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, NotSupportedError, models, transaction
from django.db.models.expressions import Col

from masivo_braze.loyalty.signals import CHUNK_ROWS, send_rows_changed

if TYPE_CHECKING:
    from masivo_braze.loyalty.models.record import Record

RecordType = TypeVar("RecordType", bound="Record")
T = TypeVar("T")


def chunked(items: Iterable[T], size: int = CHUNK_ROWS) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class RecordQuerySet(models.QuerySet[RecordType]):
    """Sends signals for `bulk_create`, `bulk_update` and `update`. Deletion sends Django's own, row by row.

    An operation is one transaction: the write, the checks of `Record` and what receivers write.
    """

    def bulk_create(
        self,
        objs: Iterable[RecordType],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[RecordType]:
        """Like Django's.

        With `ignore_conflicts`, signals are sent only for rows that were inserted, and only these get a pk.
        """
        if update_conflicts:
            # The database does not say which rows it inserted and which it updated.
            raise NotSupportedError("update_conflicts is not captured: use update_or_create(), or update() and save().")
        objs = list(objs)
        self._for_write = True
        with transaction.atomic(using=self.db):
            for chunk in chunked(objs):
                self._create_chunk(chunk, batch_size, ignore_conflicts)
        return objs

    def bulk_update(self, objs: Iterable[RecordType], fields: Iterable[str], batch_size: int | None = None) -> int:
        """Like Django's, which writes through `update()`, where rows are locked and signals are sent."""
        objs, fields = tuple(objs), list(fields)
        self._for_write = True
        with transaction.atomic(using=self.db):
            count = super().bulk_update(objs, fields, batch_size)
        for obj in objs:
            obj.remember_written(self.db, fields)
        return count

    def update(self, **kwargs: Any) -> int:
        """Like Django's, on rows that are locked first. Signals are sent in chunks, with the values from before."""
        if not kwargs:
            return super().update()
        self._for_write = True
        changed = self._field_names(kwargs)
        with transaction.atomic(using=self.db):
            return sum(self._update_part(part, kwargs, changed) for part in self._parts(list(self._lock())))

    # As on Django's own methods: templates must not call them, and related managers must not hide them.
    bulk_create.alters_data = True  # type: ignore[attr-defined]
    bulk_update.alters_data = True  # type: ignore[attr-defined]
    update.alters_data = True  # type: ignore[attr-defined]

    def _create_chunk(self, chunk: list[RecordType], batch_size: int | None, ignore_conflicts: bool) -> None:
        for row in chunk:
            row.settle_foreign_keys()
            row.validate_tracked()
            row.validate_values()
        self.model.fill_rows(chunk, self.db)
        if ignore_conflicts:
            self._insert_what_fits(chunk, batch_size)
            chunk = [row for row in chunk if not row._state.adding]
        else:
            super().bulk_create(chunk, batch_size)
        rows = self._stored([row.pk for row in chunk]) if self.model.loaded_with else chunk
        self.model.validate_rows(rows, self.db)
        for row in chunk:
            row.remember_written(self.db)
        send_rows_changed(self.model, "created", rows)

    def _insert_what_fits(self, rows: list[RecordType], batch_size: int | None) -> None:
        """Insert the rows that break no constraint, by bisecting.

        ON CONFLICT DO NOTHING does not tell which it left out.
        """
        try:
            with transaction.atomic(using=self.db):
                super().bulk_create(rows, batch_size)
        except IntegrityError:
            for row in rows:
                row._state.adding = True
            if len(rows) > 1:
                half = len(rows) // 2
                self._insert_what_fits(rows[:half], batch_size)
                self._insert_what_fits(rows[half:], batch_size)

    def _field_names(self, kwargs: dict[str, Any]) -> frozenset[str]:
        opts = self.model._meta
        names = frozenset(opts.pk.name if name == "pk" else opts.get_field(name).name for name in kwargs)
        if refused := sorted(names & {opts.pk.name, *self.model.immutable}):
            raise ValidationError(f"{', '.join(refused)} of a saved {opts.verbose_name} cannot change.")
        return names

    def _lock(self, *, no_key: bool = True) -> Iterator[Any]:
        """The pks of the rows that this queryset matches, in order, each locked when it is read.

        The outer query is plain, because PostgreSQL locks no rows of a DISTINCT, grouped or outer-joined query.
        """
        matching = self._base().filter(pk__in=self.order_by().values("pk")).order_by("pk")
        return matching.select_for_update(no_key=no_key).values_list("pk", flat=True).iterator(CHUNK_ROWS)

    def _parts(self, locked: Iterable[Any]) -> Iterator[Any]:
        """Querysets of at most a chunk of the rows that this one matches; `locked` are their keys.

        The rows are matched again after that, as another process may have changed some before; and all of them before
        the first is written: what is written to one may be what others are matched by.
        """
        matching = self.order_by()
        parts = (matching.filter(pk__in=chunk) for chunk in chunked(locked))
        if self._is_matched_by_columns():  # there may be millions: they are not collected
            return parts
        collected = list(parts)
        if len(collected) <= 1:
            return iter(collected)
        chunks = [list(part.values_list("pk", flat=True)) for part in collected]
        return (self._unconditional().filter(pk__in=chunk) for chunk in chunks)

    def _is_matched_by_columns(self) -> bool:
        """Whether nothing but a row's own columns decides if it matches, whatever is written to other rows."""
        if self.query.annotations or len(self.query.alias_map) > 1:
            return False
        return all(
            isinstance(getattr(condition, "lhs", None), Col) and not hasattr(condition.rhs, "as_sql")
            for condition in self.query.where.leaves()
        )

    def _unconditional(self) -> models.QuerySet[RecordType]:
        """All rows, with this queryset's annotations: new values may refer to these."""
        if not self.query.annotations:
            return self._base()
        everything = self.order_by()
        everything.query.clear_where()
        return everything

    def _update_part(self, part: models.QuerySet[RecordType], kwargs: dict[str, Any], changed: frozenset[str]) -> int:
        stored = part.order_by("pk").values("pk", *self.model.tracked)
        before = {values.pop("pk"): values for values in stored}
        # Without annotations, which new values may refer to, the conditions have done their part.
        target = part if self.query.annotations else self._base()
        models.QuerySet.update(target.filter(pk__in=list(before)), **kwargs)
        changed |= self.model.complete_update(self._base().filter(pk__in=list(before)), changed)
        rows = self._stored(before)
        self.model.validate_rows(rows, self.db)
        send_rows_changed(self.model, "updated", rows, changed=changed, before=before)
        return len(before)

    def _stored(self, pks: Collection[Any]) -> list[RecordType]:
        """The rows as stored, in the order of `pks`, with the relations that signals need."""
        rows = self._base().filter(pk__in=list(pks))
        if self.model.loaded_with:
            rows = rows.select_related(*self.model.loaded_with)
        by_pk = {row.pk: row for row in rows}
        return [by_pk[pk] for pk in pks if pk in by_pk]

    def _base(self) -> models.QuerySet[RecordType]:
        return self.model._base_manager.using(self.db)

"""The base of captured records: validated, and announced by signals, in whatever way they are written."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, Self, cast

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import DEFAULT_DB_ALIAS, models, router, transaction
from django.db.models.base import ModelBase


class Record(models.Model):
    """A captured model. `save()` validates, and writes in a transaction with what its post_save receivers write."""

    #: Fields whose stored values an instance remembers for post_save receivers, and that `rows_changed` has in
    #: `before`.
    tracked: ClassVar[tuple[str, ...]] = ()
    #: Fields that keep the value they were first saved with.
    immutable: ClassVar[tuple[str, ...]] = ()
    #: Relations that are loaded on the rows of a `rows_changed` signal.
    loaded_with: ClassVar[tuple[str, ...]] = ()

    _loaded: Mapping[str, Any] = MappingProxyType({})
    #: What is noted as loaded was written in a transaction of the caller's, who may have rolled it back since.
    _may_be_undone = False

    class Meta:
        abstract = True

    def save(
        self,
        *,
        force_insert: bool | tuple[ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        self.settle_foreign_keys()
        if not force_insert:
            self._recall(using)
        self.validate_immutable()
        self.validate_tracked()
        self.validate_values()
        self.validate_relations()
        with transaction.atomic(using=using, savepoint=False):
            update_fields = self._fill(using, update_fields)
            super().save(force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields)
        # Only now: post_save receivers still need the values from before.
        self.remember_written(using, update_fields)

    @classmethod
    def from_db(cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any) -> Self:
        instance = super().from_db(db, field_names, values, **kwargs)
        instance.remember(field_names)
        return instance

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Self] | None = None,
    ) -> None:
        fields = None if fields is None else list(fields)
        super().refresh_from_db(using, fields, from_queryset)
        self.remember_written(self._state.db or DEFAULT_DB_ALIAS, fields)  # maybe in the transaction that wrote them

    def clean(self) -> None:
        super().clean()
        self.validate_immutable()
        self.validate_values()
        self.validate_relations()

    def validate_immutable(self) -> None:
        """ValidationError if a field that cannot change has another value than the stored one."""
        for field in self._fields_named(self.immutable):
            name, stored = field.name, self._loaded.get(field.name)
            current = self.__dict__.get(field.attname, stored)
            if name in self._loaded and field.to_python(current) != stored:
                message = "The %(field)s of a saved %(model)s cannot change."
                names = {"field": field.verbose_name, "model": self._meta.verbose_name}
                raise ValidationError({name: ValidationError(message, params=names)})

    def validate_tracked(self) -> None:
        """ValidationError if a tracked field has an expression: nobody could tell what changed, so nobody was told."""
        for field in self._fields_named(self.tracked):
            if hasattr(self.__dict__.get(field.attname), "resolve_expression"):
                raise ValidationError({field.name: "This cannot be saved as an expression: give a value, or update()."})

    def validate_values(self) -> None:
        """ValidationError if a value is wrong in itself. No queries."""

    def validate_relations(self) -> None:
        """ValidationError if the row does not fit the rows it refers to."""

    @classmethod
    def validate_rows(cls, rows: Sequence[Self], using: str) -> None:
        """Both checks, for rows just written in bulk, with the relations of `loaded_with` loaded."""
        for row in rows:
            row.validate_values()
            row.validate_relations()

    @classmethod
    def fill_rows(cls, rows: Sequence[Self], using: str, written: Collection[str] | None = None) -> frozenset[str]:
        """Fill in what may be omitted, in the transaction of the write; returns the names of the fields it filled.

        `written` has the names of the fields that the write is limited to; None: all.
        """
        return frozenset()

    @classmethod
    def complete_update(cls, stored: models.QuerySet[Self], changed: frozenset[str]) -> frozenset[str]:
        """Like `fill_rows`, for rows of which `QuerySet.update` has just written the fields `changed`."""
        return frozenset()

    def related(self, name: str) -> Any:
        """The record that a foreign key refers to, saved or not; None if there is none."""
        try:
            return getattr(self, name)
        except ObjectDoesNotExist:
            return None

    def given(self, name: str) -> Any:
        """A field's value as it will be stored, though it be given as text; None if it is not set, or an expression.

        ValidationError at `name` for what is no value of the field.
        """
        value = self.__dict__.get(name)
        if hasattr(value, "resolve_expression"):
            return None
        field = cast("models.Field[Any, Any]", self._meta.get_field(name))
        try:
            return field.to_python(value)
        except ValidationError as error:
            raise ValidationError({name: error}) from error

    def validate_time(self, name: str) -> None:
        """ValidationError at `name` for a time that in UTC is after 9999 or before 1.

        PostgreSQL stores it, Python cannot read it back.
        """
        value = self.given(name)
        if isinstance(value, datetime) and value.tzinfo:
            try:
                value.astimezone(UTC)
            except OverflowError as error:
                raise ValidationError({name: "Times are from the year 1 to the year 9999, in UTC."}) from error

    def settle_foreign_keys(self) -> None:
        """Take over the pks of related records that were saved after they had been assigned."""
        for field in self._meta.concrete_fields:
            if self.__dict__.get(field.attname) is None and field.name in self._state.fields_cache:
                setattr(self, field.name, self._state.fields_cache[field.name])

    def remember(self, names: Iterable[str] | None = None) -> None:
        """Note that the current values of the tracked and immutable fields (only those in `names`) are now stored."""
        if names is not None:
            names = set(names)
        loaded = dict(self._loaded)
        for field in self._fields_named({*self.tracked, *self.immutable}):
            if field.attname in self.__dict__ and (names is None or not names.isdisjoint((field.name, field.attname))):
                loaded[field.name] = copy.deepcopy(self.__dict__[field.attname])
        self._loaded = loaded

    def remember_written(self, using: str, names: Iterable[str] | None = None) -> None:
        """Like `remember`, for values that may have been written in this very transaction."""
        self.remember(names)
        self._may_be_undone = transaction.get_connection(using).in_atomic_block

    def _recall(self, using: str) -> None:
        """Read stored values that were not loaded: of deferred fields, of an instance constructed with a pk, or of one
        that was saved in a transaction, which may have been rolled back.
        """
        if self.pk is None or self._may_be_undone:
            self._loaded, self._may_be_undone = {}, False
        if self.pk is None:
            return
        missing = [name for name in (*self.tracked, *self.immutable) if name not in self._loaded]
        if missing:
            stored = type(self)._base_manager.using(using).filter(pk=self.pk)
            self._loaded = {**self._loaded, **(stored.values(*missing).first() or {})}

    def _fill(self, using: str, update_fields: Iterable[str] | None) -> Iterable[str] | None:
        """`update_fields`, and the fields that had to be filled in besides."""
        names = None if update_fields is None else set(update_fields)
        filled = self.fill_rows([self], using, names)
        return names | filled if names else names

    def _fields_named(self, names: Collection[str]) -> list[models.Field[Any, Any]]:
        return [field for field in self._meta.concrete_fields if field.name in names]

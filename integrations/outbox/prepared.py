"""Queries that are put into SQL once, where they are asked for each change.

Django takes longer to build a query and put it into words than PostgreSQL takes to answer it: that was half of the
processor time of a relay. The words stay the same from call to call; only the values in them change.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import datetime
from inspect import signature
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast
from uuid import UUID

from django.db import connection
from django.db.models import Expression, Model, QuerySet

from integrations.outbox.sql import moment

M = TypeVar("M", bound=Model)


class Parameter(Expression):
    """Stands for a value in a query that is put into words before the value is known."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.written: Callable[[Any], Any] = _written

    def as_sql(self, *_: Any) -> tuple[str, Any]:
        return "%s", [self]

    def through(self, written: Callable[[Any], Any]) -> Self:
        """The same, for a lookup that writes its values in a way of its own."""
        other = copy(self)
        other.written = written
        return other


class Words(NamedTuple):
    sql: str
    parameters: tuple[Any, ...]  #: some of them are `Parameter`s
    converters: Mapping[int, tuple[list[Callable[..., Any]], Any]]  #: as Django's compilers have them
    of: tuple[
        type[Model], list[str]
    ]  #: whose instances the rows are, where no values are asked for, and of which fields


class Prepared(Generic[M]):
    """`build` makes the queryset, of a `Parameter` for each of its own arguments; calls give values by their names.

    A limit is given with the call: its query has none of its own.
    """

    def __init__(self, build: "Callable[..., QuerySet[M, Any]]") -> None:
        self._build = build
        self._names = list(signature(build).parameters)
        self._words: dict[str, Words] = {}  # by vendor

    def rows(self, limit: int | None = None, held: bool = False, **values: Any) -> list[tuple[Any, ...]]:
        """As `values_list` gives them. `held`: until the transaction ends, nobody changes a key of theirs, or has them
        locked to change more; others may hold them as well. (SQLite has one writer anyway.)
        """
        words = self._words.get(connection.vendor) or self._put_into_words()
        sql = words.sql if limit is None else f"{words.sql} LIMIT {limit}"
        if held and connection.vendor == "postgresql":
            sql += " FOR KEY SHARE"  # which Django has no word for
        parameters = [
            each.written(values[each.name]) if isinstance(each, Parameter) else each for each in words.parameters
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return [_converted(row, words.converters) for row in found] if words.converters else found

    def first(self, held: bool = False, **values: Any) -> M | None:
        """As a model's instance; any of them, where the query has no order."""
        rows = self.rows(limit=1, held=held, **values)
        if not rows:
            return None
        model, columns = self._words[connection.vendor].of
        return cast("M", model.from_db(connection.alias, columns, rows[0]))

    def _put_into_words(self) -> Words:
        queryset = self._build(*map(Parameter, self._names))
        compiler = queryset.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        selected = [column for column, _, _ in compiler.select or ()]
        model = queryset.model
        of = (model, [field.attname for field in model._meta.concrete_fields])
        words = Words(sql, tuple(parameters), compiler.get_converters(selected), of)
        self._words[connection.vendor] = words
        return words


def _written(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value


def _converted(row: Iterable[Any], converters: Mapping[int, tuple[list[Callable[..., Any]], Any]]) -> tuple[Any, ...]:
    values = list(row)
    for place, (functions, column) in converters.items():
        for function in functions:
            values[place] = function(values[place], column, connection)
    return tuple(values)

"""Queries that are compiled to SQL once, because they run for every change.

Django takes longer to build and compile a query than PostgreSQL takes to answer it: that was half of a relay's
processor time. The SQL stays the same from call to call; only its parameters change.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from datetime import datetime
from inspect import signature
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

from django.db import connection
from django.db.models import Expression, Model, QuerySet

from integrations.outbox.sql import moment

M = TypeVar("M", bound=Model)


class Parameter(Expression):
    """Stands for a value in a query that is compiled before the value is known."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.written: Callable[[Any], Any] = _written

    def as_sql(self, *_: Any) -> tuple[str, Any]:
        return "%s", [self]

    def through(self, written: Callable[[Any], Any]) -> Self:
        """A copy whose value is converted by `written`, for a look-up with a notation of its own."""
        other = copy(self)
        other.written = written
        return other


class Compiled(NamedTuple):
    sql: str
    parameters: tuple[Any, ...]  #: some of them are `Parameter`s
    converters: Mapping[int, tuple[list[Callable[..., Any]], Any]]  #: as Django's compilers have them
    model: type[Model]
    fields: list[str]  #: the model's, in the order of its columns


class Prepared(Generic[M]):
    """`build` returns the queryset; it is called once, with a `Parameter` for each of its arguments.

    Calls then pass the values by the names of those arguments. The queryset must not be sliced: a limit is given with
    the call.
    """

    def __init__(self, build: "Callable[..., QuerySet[M, Any]]") -> None:
        self._build = build
        self._names = list(signature(build).parameters)
        self._compiled: dict[str, Compiled] = {}  # by database vendor

    def rows(self, limit: int | None = None, key_share: bool = False, **values: Any) -> list[tuple[Any, ...]]:
        """The rows, as `values_list` gives them.

        With `key_share` they stay locked until the transaction ends, in PostgreSQL's weakest mode: others may hold the
        same lock, but nobody can take `FOR UPDATE` or change the rows' keys. (SQLite has one writer anyway.)
        """
        query = self._compiled.get(connection.vendor) or self._compile()
        sql = query.sql if limit is None else f"{query.sql} LIMIT {limit}"
        if key_share and connection.vendor == "postgresql":
            sql += " FOR KEY SHARE"  # Django has no option for it
        parameters = [
            each.written(values[each.name]) if isinstance(each, Parameter) else each for each in query.parameters
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return [_converted(row, query.converters) for row in found] if query.converters else found

    def first(self, key_share: bool = False, **values: Any) -> M | None:
        """The first row as an instance of the model, or None. The queryset must select all of the model's fields."""
        rows = self.rows(limit=1, key_share=key_share, **values)
        if not rows:
            return None
        query = self._compiled[connection.vendor]
        return cast("M", query.model.from_db(connection.alias, query.fields, rows[0]))

    def _compile(self) -> Compiled:
        queryset = self._build(*map(Parameter, self._names))
        compiler = queryset.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        selected = [column for column, _, _ in compiler.select or ()]
        fields = [field.attname for field in queryset.model._meta.concrete_fields]
        query = Compiled(sql, tuple(parameters), compiler.get_converters(selected), queryset.model, fields)
        self._compiled[connection.vendor] = query
        return query


def _written(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value


def _converted(row: Iterable[Any], converters: Mapping[int, tuple[list[Callable[..., Any]], Any]]) -> tuple[Any, ...]:
    values = list(row)
    for place, (functions, column) in converters.items():
        for function in functions:
            values[place] = function(values[place], column, connection)
    return tuple(values)

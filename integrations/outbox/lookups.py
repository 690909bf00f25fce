"""Look-ups: `field__among=[…]` is `__in` with the list as one parameter, `field__unindexed=…` is equality without an
index.

`__in` writes a placeholder for each value, and Django and the driver handle these one by one, in Python: with thousands
of values that takes longer than the query.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Lookup
from django.db.models.sql.compiler import SQLCompiler

from integrations.outbox.prepared import Parameter
from integrations.outbox.sql import among, unindexed

if TYPE_CHECKING:
    _Lookup = Lookup[Any]
else:
    _Lookup = Lookup  # generic in its type stubs only


def register() -> None:
    """Called once, when the app registry is ready."""
    Field.register_lookup(Among)
    Field.register_lookup(Unindexed)


class Among(_Lookup):
    """The values are of the column's own type; an empty list matches nothing."""

    lookup_name = "among"
    prepare_rhs = False

    def __init__(self, lhs: Any, rhs: "Iterable[Any] | Parameter") -> None:
        super().__init__(lhs, rhs if isinstance(rhs, Parameter) else list(rhs))

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        condition, written = among(column, self.lhs.output_field.cast_db_type(connection))
        values = self.rhs.through(written) if isinstance(self.rhs, Parameter) else written(self.rhs)
        return condition, (*parameters, values)


class Unindexed(_Lookup):
    """The query's other conditions must find the rows: see `sql.unindexed`."""

    lookup_name = "unindexed"

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        _, values = self.process_rhs(compiler, connection)
        return unindexed(column), (*parameters, *values)

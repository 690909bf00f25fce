"""For migrations: builds or removes an index while others go on writing, on PostgreSQL.

An ordinary `AddIndex` lets nobody save a record until it is done, and that takes seconds if millions of changes were
captured. These need a migration that is no transaction (`atomic = False`), which can be run again if it was cut off.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.operations.base import Operation


class _Concurrently(Operation):
    #: The operation on PostgreSQL, and elsewhere.
    ways: tuple[type[Operation], type[Operation]]

    def database_forwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *states: Any) -> None:
        self._way(schema_editor).database_forwards(self, app_label, schema_editor, *states)

    def database_backwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *states: Any) -> None:
        self._way(schema_editor).database_backwards(self, app_label, schema_editor, *states)

    def _way(self, schema_editor: BaseDatabaseSchemaEditor) -> type[Operation]:
        return self.ways[not _is_postgresql(schema_editor)]


class BuildIndex(_Concurrently, AddIndexConcurrently):
    ways = AddIndexConcurrently, AddIndex

    def database_forwards(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, *states: Any) -> None:
        if _is_postgresql(schema_editor):  # what was cut off has left an index that PostgreSQL does not use
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}")
        super().database_forwards(app_label, schema_editor, *states)


class DropIndex(_Concurrently, RemoveIndexConcurrently):
    ways = RemoveIndexConcurrently, RemoveIndex


def _is_postgresql(schema_editor: BaseDatabaseSchemaEditor) -> bool:
    return schema_editor.connection.vendor == "postgresql"

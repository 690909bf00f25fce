"""PostgreSQL keeps no statistics of the status.

Its sample of a backlog says that nearly all is pending, long after nearly nothing is. A query for what is pending then
goes through the whole table, expecting to find some at once. Without a sample it takes the index, whatever the moment.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def set_statistics(target: int, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE outbox_outboxentry ALTER COLUMN status SET STATISTICS {target}")


def keep_none(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    set_statistics(0, schema_editor)


def keep_as_usual(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    set_statistics(-1, schema_editor)


class Migration(migrations.Migration):
    dependencies = [("outbox", "0001_initial")]
    operations = [migrations.RunPython(keep_none, keep_as_usual)]

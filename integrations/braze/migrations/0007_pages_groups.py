"""Viewers see health, timelines and skipped changes; operators pause and resume accounts, too."""

from importlib import import_module

from django.db import migrations

groups = import_module('integrations.braze.migrations.0003_console_groups')

VIEWER = ('braze.view_accounthealth', 'braze.view_arrival', 'braze.view_skippedsync')
OPERATOR = (*VIEWER, 'braze.change_accounthealth')


def migrate(apps, schema_editor):
    extend_groups(apps, schema_editor.connection.alias)


def extend_groups(apps, using):
    groups._create_permissions(apps, using)
    Group = apps.get_model('auth', 'Group')
    for name, permissions in (('Operator', OPERATOR), ('Viewer', VIEWER)):
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.add(*(groups._permission(apps, using, each) for each in permissions))


class Migration(migrations.Migration):

    dependencies = [('braze', '0006_pages_health')]

    operations = [migrations.RunPython(migrate, migrations.RunPython.noop)]

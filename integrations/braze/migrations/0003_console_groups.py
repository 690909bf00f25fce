"""The groups Operator and Viewer. Whoever is in one acts on the accounts they are a member of, and on no other."""

from django.contrib.auth.management import create_permissions
from django.db import migrations

RECORDS = ('customer', 'event', 'order', 'orderline', 'audience', 'membership')
VIEWER = [
    'loyalty.view_account',
    *(f'loyalty.view_{model}' for model in RECORDS),
    'outbox.view_outboxentry',
    'braze.view_brazesettings',
    'braze.view_failedsync',
    'braze.view_delivery',
    'braze.view_brazepurchase',
    'braze.view_brazeprofile',
]
OPERATOR = [
    *VIEWER,
    *(f'loyalty.{action}_{model}' for model in RECORDS for action in ('add', 'change', 'delete')),
    'braze.add_brazesettings',
    'braze.change_brazesettings',
    'braze.change_failedsync',
    'braze.view_payloads',
]


def migrate(apps, schema_editor):
    create_groups(apps, schema_editor.connection.alias)


def create_groups(apps, using):
    _create_permissions(apps, using)
    Group = apps.get_model('auth', 'Group')
    for name, permissions in (('Operator', OPERATOR), ('Viewer', VIEWER)):
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.add(*(_permission(apps, using, each) for each in permissions))


def _create_permissions(apps, using):
    """Django creates permissions after the last migration; on a fresh database that is too late for this one."""
    for label in ('loyalty', 'outbox', 'braze'):
        config = apps.get_app_config(label)
        before, config.models_module = getattr(config, 'models_module', None), True
        create_permissions(config, apps=apps, using=using, verbosity=0)
        config.models_module = before


def _permission(apps, using, name):
    label, _, codename = name.partition('.')
    Permission = apps.get_model('auth', 'Permission')
    return Permission.objects.using(using).get(content_type__app_label=label, codename=codename)


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
        ('loyalty', '0001_initial'),
        ('outbox', '0001_initial'),
        ('braze', '0002_console_payloads'),
    ]

    operations = [
        migrations.RunPython(migrate, migrations.RunPython.noop),
    ]

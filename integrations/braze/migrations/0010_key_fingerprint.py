from django.db import migrations

from integrations.braze.models import fingerprint
from integrations.braze.models.fields import Undecryptable
from integrations.braze.models.fingerprint import FingerprintField


def note_fingerprints(apps, schema_editor):
    """Of keys stored before; one that cannot be decrypted gets its own when it is pasted again."""
    rows = apps.get_model('braze', 'BrazeSettings').objects.using(schema_editor.connection.alias)
    for settings in rows.exclude(api_key=''):
        if not isinstance(settings.api_key, Undecryptable):
            noted = fingerprint.of(settings.rest_endpoint, settings.api_key)
            rows.filter(pk=settings.pk).update(fingerprint=noted)


class Migration(migrations.Migration):

    dependencies = [
        ('braze', '0009_console_words'),
    ]

    operations = [
        migrations.AddField(
            model_name='brazesettings',
            name='fingerprint',
            field=FingerprintField(blank=True, db_index=True, default='', editable=False, help_text='Of key and endpoint together.', max_length=40),
        ),
        migrations.RunPython(note_fingerprints, migrations.RunPython.noop),
    ]

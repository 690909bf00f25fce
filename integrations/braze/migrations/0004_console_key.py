from django.db import migrations, models


def note_endings(apps, schema_editor):
    """Of keys stored before; when they changed is not known."""
    BrazeSettings = apps.get_model('braze', 'BrazeSettings')
    for settings in BrazeSettings.objects.using(schema_editor.connection.alias).exclude(api_key=''):
        if len(settings.api_key) >= 12:
            ending = settings.api_key[-4:]
            BrazeSettings.objects.using(schema_editor.connection.alias).filter(pk=settings.pk).update(key_ending=ending)


class Migration(migrations.Migration):

    dependencies = [
        ('braze', '0003_console_groups'),
    ]

    operations = [
        migrations.AddField(
            model_name='brazesettings',
            name='key_ending',
            field=models.CharField(blank=True, editable=False, help_text='The end of the API key, to tell two apart.', max_length=4),
        ),
        migrations.AddField(
            model_name='brazesettings',
            name='key_changed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.RunPython(note_endings, migrations.RunPython.noop),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('braze', '0005_console_notice'),
        ('outbox', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='AccountHealth',
            fields=[
            ],
            options={
                'verbose_name': "account's health",
                'verbose_name_plural': 'health',
                'proxy': True,
                'default_permissions': ('view', 'change'),
                'indexes': [],
                'constraints': [],
            },
            bases=('braze.brazestate',),
        ),
        migrations.CreateModel(
            name='Arrival',
            fields=[
            ],
            options={
                'verbose_name': 'timeline',
                'verbose_name_plural': 'did it arrive?',
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('braze.brazeprofile',),
        ),
        migrations.CreateModel(
            name='SkippedSync',
            fields=[
            ],
            options={
                'verbose_name': 'skipped change',
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('outbox.outboxentry',),
        ),
        migrations.AddField(
            model_name='brazestate',
            name='held_at',
            field=models.DateTimeField(blank=True, help_text='Paused by a person, apart from any other pause: only Resume ends it.', null=True),
        ),
        migrations.AddField(
            model_name='brazestate',
            name='held_by',
            field=models.CharField(blank=True, max_length=150),
        ),
        migrations.AddField(
            model_name='brazestate',
            name='held_reason',
            field=models.TextField(blank=True),
        ),
    ]

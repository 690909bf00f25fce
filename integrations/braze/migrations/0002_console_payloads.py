from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('braze', '0001_initial'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='delivery',
            options={
                'permissions': [('view_payloads', 'Can view payloads: what requests carried, personal data included')],
                'verbose_name': 'request',
            },
        ),
    ]

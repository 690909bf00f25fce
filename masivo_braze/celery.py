"""The Celery app. Uses the production settings unless told otherwise, as workers are started by the Procfile."""

import os

from masivo_braze import connections, memory
from masivo_braze.clocks import Hints

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")

app = Hints("masivo_braze")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

connections.connect(app)
memory.connect()

"""Lets workers keep their database connections from one task to the next, like web requests with `CONN_MAX_AGE`.

By default Celery closes them before and after each task, and PostgreSQL starts a process for each new one, which has to
look up every table again: that took a third of a task that relays one change. Broken or too old connections are closed.
"""

import sys

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections


def connect(app: Celery) -> None:
    """Call before the app's worker starts."""
    app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize  # how many tasks before Celery closes connections
    task_prerun.connect(_close_old, dispatch_uid="masivo_braze.connections")


def _close_old(**_: object) -> None:
    close_old_connections()

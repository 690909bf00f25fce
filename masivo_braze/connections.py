"""A worker keeps its database connections from one task to the next, as `CONN_MAX_AGE` says of a web request's.

Celery closes them before and after each task all the same, and PostgreSQL starts a process for each new one, which has
to look up every table again: of a task that relays one change, that was a third. What is broken or too old is closed.
"""

import sys

from celery import Celery
from celery.signals import task_prerun
from django.db import close_old_connections


def connect(app: Celery) -> None:
    """Has to be called before the app's worker starts."""
    app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize  # tasks until Celery closes them
    task_prerun.connect(_close_old, dispatch_uid="masivo_braze.connections")


def _close_old(**_: object) -> None:
    close_old_connections()

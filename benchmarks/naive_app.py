"""The naive design's Celery app and its one task."""

import os
from functools import cache
from typing import Any

import requests
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.local")

app = Celery("naive")
app.config_from_object("django.conf:settings", namespace="CELERY")


@cache
def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=64))
    return session


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]  # as Celery's decorators are
def send_event(pk: str, url: str) -> None:
    import django

    django.setup()
    from masivo_braze.loyalty.models import Event

    event = Event.objects.select_related("customer").get(pk=pk)
    body: dict[str, Any] = {
        "external_id": event.customer.external_id,
        "name": event.type,
        "time": event.occurred_at.isoformat(),
        "properties": event.data,
    }
    answer = _session().post(f"{url}/users/track", json={"events": [body]}, timeout=30)
    answer.raise_for_status()

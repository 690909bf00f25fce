"""Checks Redis' configuration before anything relies on it."""

from typing import Any

import redis
from celery.signals import worker_init
from django.core.checks import CheckMessage, Error, Warning, register

from integrations.braze.delivery import connection

HINT = "Set maxmemory-policy to noeviction: an evicting Redis silently drops queued tasks and the limiter's state."


def connect() -> None:
    worker_init.connect(refuse_to_start, dispatch_uid="braze.refuse_to_start")


@register(deploy=True)
def redis_keeps_its_keys(**_: Any) -> list[CheckMessage]:
    """Part of `check --deploy`; workers run it when they start."""
    try:
        policy = _eviction_policy()
    except redis.RedisError as error:
        return [Warning(f"Redis could not be asked for its maxmemory-policy: {error}", id="braze.W001")]
    if policy == "noeviction":
        return []
    return [Error(f"Redis evicts keys when it is full (maxmemory-policy {policy}).", hint=HINT, id="braze.E001")]


def refuse_to_start(**_: Any) -> None:
    """Stops a worker whose Redis would lose messages. A Redis that is down is waited for instead."""
    for message in redis_keeps_its_keys():
        if message.id == "braze.E001":
            raise SystemExit(f"{message.msg} {message.hint}")


def _eviction_policy() -> str:
    policy: str = connection.client().info("memory")["maxmemory_policy"]
    return policy

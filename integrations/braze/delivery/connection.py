"""The process' connection to Redis: short time-outs, and no retries, since a write that is repeated may apply twice."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from integrations.braze import lua


@cache
def client() -> redis.Redis:
    """Shared by all threads; its pool opens new connections in a forked child."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


@cache
def script(name: str) -> Script:
    """A Lua script of `lua/`, run by its hash and loaded again if the server has forgotten it."""
    return client().register_script(lua.source(name))

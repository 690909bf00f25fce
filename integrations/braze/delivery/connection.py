"""The process' connections to Redis: short time-outs, and no retries: a write that is repeated may apply twice."""

from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from integrations.braze import lua


@cache
def client() -> redis.Redis:
    """Shared by all threads; its pool opens new connections in a forked child.

    A connection to a server that has become a replica is closed: after a failover, the address leads to another one.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[redis.ReadOnlyError],  # with no retries, all that this does is close the connection
    )


@cache
def script(name: str) -> Script:
    """A Lua script of `lua/`, run by its hash and loaded again if the server has forgotten it."""
    return client().register_script(lua.source(name))

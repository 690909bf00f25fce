"""The process' connections to Redis: short time-outs, and no retries: a write that is repeated may apply twice."""

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from integrations.braze import lua

logger = logging.getLogger(__name__)

#: Whoever only asks whether Redis can be used waits no longer for it: a page, for instance.
ASK_SECONDS = 0.5
#: More than a process has threads; the library's own limit is 100.
MOST_CONNECTIONS = 10_000


@cache
def client() -> redis.Redis:
    """Shared by all threads; its pool opens new connections in a forked child.

    A connection to a server that has become a replica is closed: after a failover, the address leads to another one.
    """
    return redis.Redis.from_url(
        settings.REDIS_URL,
        max_connections=MOST_CONNECTIONS,
        socket_timeout=settings.REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=settings.REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[redis.ReadOnlyError],  # with no retries, all that this does is close the connection
    )


def trouble() -> str:
    """Why Redis cannot be written to, in a few words; "" if it can. One connection of its own, and short."""
    asked = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=ASK_SECONDS,
        socket_connect_timeout=ASK_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with asked:
            asked.set("braze:answers", 1, px=1_000)
    except (redis.RedisError, OSError) as error:
        return in_words(error)
    return ""


def in_words(error: Exception) -> str:
    """The name of an error, or what the server says if that has no name of its own (that it cannot save, for instance).

    Other errors' words may have the address in them.
    """
    return str(error).partition(".")[0] if type(error) is redis.ResponseError else type(error).__name__


@cache
def script(name: str) -> Script:
    """A Lua script of `lua/`, run by its hash and loaded again if the server has forgotten it."""
    return client().register_script(lua.source(name))


def run(name: str, keys: Sequence[str], arguments: Sequence[Any], disposable: Sequence[str] = ()) -> Any:
    """Run a script. If a key is of a wrong type, all `disposable` ones (else `keys`) are deleted and it is run again.

    Raises `redis.RedisError`.
    """
    try:
        return script(name)(keys=keys, args=arguments)
    except redis.ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        logger.error("a key among %s is of a wrong type: deleted, to be made anew", ", ".join(disposable or keys))
        client().delete(*(disposable or keys))
        return script(name)(keys=keys, args=arguments)

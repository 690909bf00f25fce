"""Keeps queues short that no worker serves.

The periodic tasks publish for each account every second, and messages expire only when a worker takes them. Without a
worker, they would fill Redis within a day or two, and stop every account and every queue.
"""

import logging
from collections.abc import Iterable
from typing import Any

import redis

logger = logging.getLogger(__name__)

#: About 10 MB. What is dropped are hints, most of them stale: the next tick repeats them.
MOST_MESSAGES = 10_000


def shorten(client: "redis.Redis", names: Iterable[str]) -> None:
    """Leave only the newest messages of each queue, which is a list in Redis that they are pushed to the left of."""
    names = list(names)
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.llen(name)
        pipeline.ltrim(name, 0, MOST_MESSAGES - 1)
    try:
        lengths: list[Any] = pipeline.execute()[::2]
    except redis.RedisError as error:  # whoever publishes will say so, if it is more than this
        logger.warning("queues could not be shortened: %s", error)
        return
    for name, length in zip(names, lengths, strict=True):
        if length > MOST_MESSAGES:
            logger.error("queue %s had %s messages: does a worker serve it? The oldest were dropped.", name, length)

"""Faults of Redis: it is the list of what is ready to send, and may forget, repeat, hang or be gone."""

import random
import uuid
import zlib

import redis

from tests.e2e.harness import database
from tests.e2e.harness.progress import progress
from tests.e2e.harness.stack import TorturedStack

#: Requests that are made ready again at once: each takes a slot of the limit before it turns out to be a repetition.
REPEATED = 12


def wipe_redis(stack: TorturedStack, chance: random.Random) -> None:
    _client(stack).flushall()


def kill_redis(stack: TorturedStack, chance: random.Random) -> None:
    stack.kill("redis")
    progress(stack, 1, 0.5)
    stack.start_redis()


def freeze_redis(stack: TorturedStack, chance: random.Random) -> None:
    stack.freeze("redis")
    progress(stack, 1_000_000, 1.5)
    stack.thaw("redis")


def lose_last_second(stack: TorturedStack, chance: random.Random) -> None:
    """As a failover to a replica that lags: Redis is back at what it held a moment ago."""
    client = _client(stack)
    before = {key: (client.dump(key), max(client.pttl(key), 0)) for key in client.scan_iter()}
    progress(stack, 1_000_000, chance.uniform(0.3, 1.0))
    client.flushall()
    for key, (value, ttl) in before.items():
        if value is not None:
            client.restore(key, ttl, value, replace=True)


def repeat_requests(stack: TorturedStack, chance: random.Random) -> None:
    """Makes requests ready again that were ready before: some in flight, some long finished."""
    query = "SELECT id, account_id, body, finished_at FROM braze_delivery WHERE started_at IS NOT NULL"
    found = database.rows(stack.database_url, query)
    in_flight = [row for row in found if row[3] is None]
    again = in_flight[:REPEATED] + chance.sample(found, min(REPEATED, len(found)))
    client = _client(stack)
    for name, account, body, _ in again:
        pk = str(uuid.UUID(str(name)))
        client.delete(f"braze:{{{account}}}:flight")
        client.hset(f"braze:{{{account}}}:bodies", pk, bytes(body) or zlib.compress(b"{}"))
        client.rpush(f"braze:{{{account}}}:ready", pk)


def _client(stack: TorturedStack) -> "redis.Redis":
    return redis.Redis(port=stack.redis_port)

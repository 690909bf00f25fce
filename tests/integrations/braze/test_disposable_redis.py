"""Redis may forget, repeat, fill up or be gone: what is ready to send is in the ledger, and little of it in Redis."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis

from dev.ports import free_port
from integrations.braze.composing import relay, taking
from integrations.braze.delivery import buffer, commits, connection, flush, ledger, limiter
from integrations.braze.models import BrazeSettings, BrazeState, Endpoint
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.delivery.limits import (
    away_from_the_turn_of_the_hour,
    hour_key,
    limit,
    never,
    reserve,
    slot_key,
)
from tests.integrations.braze.fates import counts

Sync = Callable[[], None]


def test_nothing_happens_but_a_delay_when_redis_forgets(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any, sync: Sync
) -> None:
    relay.relay(account.pk)
    redis_client.flushall()
    redis_client.script_flush()
    assert flush.flush(account.pk) == 0
    sync()
    assert counts() == {"delivered": 4}


def test_a_body_that_redis_lost_is_read_from_the_ledger(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any
) -> None:
    relay.relay(account.pk)
    redis_client.delete(f"braze:{{{account.pk}}}:bodies")
    assert flush.flush(account.pk) == 1
    assert counts() == {"delivered": 4}


def test_a_request_unknown_to_the_ledger_is_dropped(account: Account, braze: BrazeSettings, redis_client: Any) -> None:
    """After a database was restored from a backup, Redis may know more than the ledger."""
    redis_client.rpush(f"braze:{{{account.pk}}}:ready", *(str(uuid.uuid4()) for _ in range(buffer.IN_FLIGHT + 1)))
    assert flush.flush(account.pk) == 0
    assert buffer.claim(account.pk) is None


def test_the_relay_stops_when_enough_is_ready(
    account: Account, braze: BrazeSettings, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRAZE_READY_REQUESTS = 2
    monkeypatch.setattr(taking, "TAKE", 75)
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(300))
    relay.relay(account.pk)
    assert ledger.unstarted(account.pk).count() == 3, "one round more was being composed when the second was committed"
    assert counts() == {"pending": 75, "buffered": 225}


def test_only_what_is_still_to_be_started_counts_as_ready(
    account: Account, braze: BrazeSettings, settings: Any
) -> None:
    settings.BRAZE_READY_REQUESTS = 1
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        assert relay.relay(account.pk) == 1
        assert ledger.start_all(ledger.next_to_send(account.pk))
    Customer.objects.create(account=account, external_id="c3")
    assert relay.relay(account.pk) == 1
    ledger.dissolve_unstarted(account.pk)
    assert relay.relay(account.pk) == 1, "what was taken back does not count either"


def test_the_relay_stops_when_what_is_ready_is_large(
    account: Account, braze: BrazeSettings, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRAZE_READY_BYTES = 1
    monkeypatch.setattr(taking, "TAKE", 75)
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(300))
    relay.relay(account.pk)
    assert ledger.unstarted(account.pk).count() == 2


def test_a_redis_that_is_full_loses_nothing(account: Account, change: Customer, redis_client: Any, sync: Sync) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        relay.relay(account.pk)
        assert counts() == {"buffered": 4}
    finally:
        redis_client.config_set("maxmemory", 0)
    sync()
    assert counts() == {"delivered": 4}


def test_a_connection_to_a_server_that_has_become_a_replica_is_given_up(
    account: Account, change: Customer, redis_client: Any, sync: Sync
) -> None:
    """After a failover the address leads to another server, and this one may live on: every write went on failing."""
    relay.relay(account.pk)
    before = connection.client().client_id()
    redis_client.execute_command("REPLICAOF", "127.0.0.1", free_port())
    try:
        with pytest.raises(redis.ReadOnlyError):
            flush.flush(account.pk)
    finally:
        redis_client.execute_command("REPLICAOF", "NO", "ONE")
    assert connection.client().client_id() != before
    sync()
    assert counts() == {"delivered": 4}


@pytest.mark.parametrize("key", ["ready", "bodies", "flight", "commits"])
@pytest.mark.parametrize("kind", ["text", "stream"])
def test_a_key_that_holds_something_else_is_made_anew_and_nothing_is_sent_twice(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any, sync: Sync, key: str, kind: str
) -> None:
    """Else the account would stand still until somebody removed the key."""
    relay.relay(account.pk)
    name = commits.key(BrazeState.objects.get()) if key == "commits" else f"braze:{{{account.pk}}}:{key}"
    redis_client.delete(name)
    if kind == "text":
        redis_client.set(name, "rubbish")
    else:
        redis_client.xadd(name, {"a": "b"})
    for _ in range(2):  # a claim that finds it takes the request with it, until the next tick
        sync()
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["requests"]["track"] == 1


@pytest.mark.parametrize("name", ["slot", "hour"])
@pytest.mark.parametrize("kind", ["text", "list"])
def test_a_key_of_the_limiter_that_holds_something_else_is_made_anew(
    account: Account, change: Customer, redis_client: Any, sync: Sync, name: str, kind: str
) -> None:
    """Every account of the API key stood still until somebody removed it."""
    BrazeSettings.objects.update(calls_per_hour=1000)
    key = f"braze:{{{limiter.budget_of(BrazeSettings.objects.get(), Endpoint.TRACK)}}}:{name}"
    if kind == "text":
        redis_client.set(key, "rubbish")
    else:
        redis_client.rpush(key, "rubbish")
    sync()
    assert counts() == {"delivered": 4}


@pytest.mark.parametrize("field", ["hour", "used", "latest"])
def test_an_hour_that_is_no_number_is_counted_anew(redis_client: Any, field: str) -> None:
    of = limit(calls=100_000, per_hour=5)
    away_from_the_turn_of_the_hour()
    assert reserve(of).is_granted
    redis_client.hset(hour_key(of), field, "rubbish")
    assert limiter.reserve(of, lambda: 2, wanted=50).granted in (3, 4)
    assert not limiter.reserve(of, never).is_granted


def test_a_wait_that_braze_asks_for_holds_where_the_limiter_s_key_holds_something_else(redis_client: Any) -> None:
    of = limit()
    redis_client.rpush(slot_key(of), "rubbish")
    limiter.defer(of, 60)
    assert reserve(of).wait_seconds > 50


@pytest.mark.parametrize("rubbish", ["rubbish", "-1", "1e9", "inf", "0x10", "9" * 5000, ""])
def test_a_counter_of_commits_that_is_no_number_is_told_again(
    account: Account, change: Customer, redis_client: Any, rubbish: str
) -> None:
    relay.relay(account.pk)
    state = BrazeState.objects.get()
    redis_client.set(commits.key(state), rubbish)
    assert not commits.has_lost_commits(state)
    flush.refill(account.pk)
    assert redis_client.get(commits.key(state)) == str(state.commits) == "1"
    BrazeState.objects.update(commits=0)
    assert commits.has_lost_commits(BrazeState.objects.get()), "and a loss is noticed again"


def test_as_many_threads_as_are_wanted_may_use_redis_at_a_time() -> None:
    """The client's own limit is 100: with more threads, a slow Redis counted as one that is down."""
    pool = connection.client().connection_pool
    taken = [pool.get_connection() for _ in range(150)]
    for each in taken:
        pool.release(each)
        each.disconnect()
    assert len(set(taken)) == 150

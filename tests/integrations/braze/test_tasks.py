"""The tick of the flush: whatever happens to one account, the others' senders are woken."""

from typing import Any
from unittest import mock

import pytest
import redis

from integrations.braze import tasks
from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, commits, flush
from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer

Shops = tuple[Account, Account]


@pytest.fixture
def shops(account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Shops:
    """Two accounts with a request that is ready, in the order in which a tick comes to them."""
    other = Account.objects.create(name="Other", slug="other")
    theirs = BrazeSettings.objects.get(pk=braze.pk)
    theirs.pk, theirs.account, theirs.api_key, theirs._state.adding = None, other, "another-key", True
    theirs.save()
    for each in (account, other):
        Customer.objects.create(account=each, external_id="c1", first_name="Ada")
        relay.relay(each.pk)
    monkeypatch.setattr(flush, "due_accounts", lambda: [account.pk, other.pk])
    return account, other


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ids of the accounts whose senders were woken."""
    account_ids: list[int] = []
    monkeypatch.setattr(tasks, "wake_flush", lambda account_id, *_: account_ids.append(account_id))
    return account_ids


@pytest.mark.parametrize("key", ["ready", "bodies", "flight", "commits"])
def test_keys_of_one_account_that_hold_something_else_keep_the_tick_from_no_account(
    shops: Shops, redis_client: Any, woken: list[int], key: str
) -> None:
    bad, good = shops
    name = commits.key(bad.braze_state) if key == "commits" else f"braze:{{{bad.pk}}}:{key}"
    redis_client.set(name, "rubbish")
    tasks.flush()
    assert woken == [bad.pk, good.pk]


@pytest.mark.parametrize(
    "error", [ValueError("of this account alone"), redis.ResponseError("ERR"), redis.OutOfMemoryError("OOM")]
)
def test_what_goes_wrong_for_one_account_keeps_the_tick_from_no_other(
    shops: Shops, woken: list[int], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bad, good = shops
    missing = buffer.missing

    def fail(account_id: int, *arguments: Any) -> Any:
        if account_id == bad.pk:
            raise error
        return missing(account_id, *arguments)

    monkeypatch.setattr(buffer, "missing", fail)
    tasks.flush()
    assert woken == [good.pk]


@pytest.mark.parametrize("error", [redis.ConnectionError(), redis.TimeoutError(), tasks.OperationalError()])
def test_a_tick_without_redis_or_broker_waits_for_it_once(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Not once for each account: there may be thousands, and a time-out takes its time."""
    wake_flush = mock.Mock(side_effect=error)
    monkeypatch.setattr(tasks, "wake_flush", wake_flush)
    tasks.flush()
    assert wake_flush.call_count == 1

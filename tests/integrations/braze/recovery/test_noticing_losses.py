"""A restored database is noticed soon in every account, whatever the account is doing."""

from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from integrations.braze import tasks
from integrations.braze.composing import relay
from integrations.braze.delivery import commits, flush
from integrations.braze.models import BrazeState
from integrations.braze.models.account import PauseKind
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]

REFUSED = {"paused_at": timezone.now(), "pause_kind": PauseKind.REFUSED}


def states(*changes: dict[str, Any]) -> list[BrazeState]:
    """Of an account each, whose counters agree."""
    made = []
    for number, changed in enumerate(changes):
        account = Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}")
        made.append(BrazeState.objects.create(account=account, commits=5, **changed))
        commits.tell_redis(commits.counted(made[-1]))
    return made


def lose_commits(*lost: BrazeState) -> None:
    BrazeState.objects.filter(pk__in=[state.pk for state in lost]).update(commits=4)


def noticed() -> set[int]:
    return set(BrazeState.objects.filter(pause_kind=PauseKind.RESTORED).values_list("pk", flat=True))


@pytest.mark.parametrize("looked_at", [1_000, 2])
def test_it_is_noticed_though_nothing_is_to_be_sent_or_may_be(monkeypatch: pytest.MonkeyPatch, looked_at: int) -> None:
    """Of thousands that were paused or switched off, some were not looked at for the better part of an hour."""
    monkeypatch.setattr(commits, "LOOKED_AT", looked_at)
    idle, refused, held, other = states({}, REFUSED, {"held_at": timezone.now()}, {})
    lose_commits(idle, refused, held)
    tasks.notice_losses()
    assert noticed() == {idle.pk, refused.pk, held.pk}
    other.refresh_from_db()
    assert other.paused_at is None


def test_when_it_was_noticed_stays() -> None:
    """What was captured by then is in doubt, and nothing after it."""
    (state,) = states({})
    lose_commits(state)
    tasks.notice_losses()
    before = BrazeState.objects.get().paused_at
    tasks.notice_losses()
    assert BrazeState.objects.get().paused_at == before is not None


def test_a_commit_that_is_counted_in_the_meantime_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    states({})
    client = mock.Mock()

    def mget(_: list[str]) -> list[bytes]:
        BrazeState.objects.update(commits=6)
        return [b"6"]

    client.mget = mget
    client.get.return_value = b"6"
    monkeypatch.setattr(commits.connection, "client", lambda: client)
    tasks.notice_losses()
    assert noticed() == set()


@pytest.mark.parametrize("rubbish", ["rubbish", "9" * 5_000, None])
def test_a_counter_that_is_no_number_keeps_no_other_loss_from_being_noticed(redis_client: Any, rubbish: Any) -> None:
    bad, good = states({}, {})
    redis_client.delete(commits.key(bad))
    if rubbish is None:
        redis_client.rpush(commits.key(bad), "a list")
    else:
        redis_client.set(commits.key(bad), rubbish)
    lose_commits(bad, good)
    tasks.notice_losses()
    assert noticed() == {good.pk}


def test_what_the_flush_sends_from_the_ledger_counts_in_redis_too(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, redis_client: Any
) -> None:
    """Redis was wiped between the commit and the send: a loss of that commit must still be noticed."""
    relay.relay(account.pk)
    redis_client.flushall()
    flush.refill(account.pk)
    flush.flush(account.pk)
    BrazeState.objects.update(commits=0)
    assert commits.has_lost_commits(BrazeState.objects.get())

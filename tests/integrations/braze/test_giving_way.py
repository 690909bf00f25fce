"""A backlog leaves others, who have little to do, more time than it takes itself; nobody else waits for anybody."""

from datetime import timedelta
from typing import Any

import pytest
from billiard.process import current_process

from integrations.braze import tasks
from integrations.braze.composing import relay, taking
from integrations.braze.delivery import flush
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import giving_way, lease, nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import Lease, OutboxEntry
from masivo_braze.loyalty.models import Account, Customer

SOON = timedelta(seconds=60)


@pytest.fixture
def other(sandbox: SandboxServer, braze: BrazeSettings) -> Account:
    made = Account.objects.create(name="Other", slug="other")
    toggles = {"is_enabled": True, "create_customers": True}
    BrazeSettings.objects.create(account=made, api_key="other", rest_endpoint=braze.rest_endpoint, **toggles)
    return made


def people(account: Account, number: int = 1) -> None:
    for each in range(number):
        Customer.objects.create(account=account, external_id=f"{account.slug}-{each}", first_name="Ada")


def waits(account: Account) -> bool:
    return giving_way.give_way(account.pk, 0.001) > 0


def test_it_gives_way_where_others_have_had_something_and_are_done(account: Account, other: Account) -> None:
    people(other)
    assert not waits(account)
    relay.relay(other.pk)
    assert waits(account)
    assert not waits(other)


def test_it_waits_three_times_as_long_as_it_worked_and_not_for_long(
    account: Account, other: Account, settings: Any
) -> None:
    people(other)
    relay.relay(other.pk)
    assert giving_way.give_way(account.pk, 0.01) == 0.03
    settings.BRAZE_GIVE_WAY_SECONDS = 0.02
    assert giving_way.give_way(account.pk, 60.0) == 0.02
    settings.BRAZE_GIVE_WAY_SECONDS = 0.0
    assert giving_way.give_way(account.pk, 60.0) == 0.0


def test_it_does_not_wait_for_somebody_who_was_there_before_the_clock_was_set_back(
    account: Account, other: Account
) -> None:
    """It paused after each round, for as long as the clock was set back."""
    people(other)
    relay.relay(other.pk)
    Lease.objects.update(emptied_at=database_now() + timedelta(hours=1))
    assert not waits(account)


def test_it_does_not_wait_for_somebody_who_was_there_long_ago(
    account: Account, other: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(other)
    relay.relay(other.pk)
    monkeypatch.setattr(giving_way, "OTHERS_WITHIN", timedelta(0))
    assert not waits(account)


def test_it_does_not_wait_for_somebody_who_cannot_go_on(account: Account, other: Account) -> None:
    people(other)
    BrazeState.objects.update_or_create(account=other, defaults={"backoff_until": database_now() + SOON})
    relay.relay(other.pk)
    assert not waits(account)


def test_it_does_not_wait_for_somebody_of_whom_nothing_may_go_yet(account: Account, other: Account) -> None:
    people(other)
    OutboxEntry.objects.filter(account=other).update(due_at=database_now() + SOON)
    assert relay.relay(other.pk) == 0
    assert not waits(account)


def test_two_backlogs_do_not_wait_for_each_other(
    account: Account, other: Account, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(other, 4)
    settings.BRAZE_READY_REQUESTS = 1
    monkeypatch.setattr(taking, "TAKE", 1)
    assert relay.relay(other.pk) == 2
    assert not waits(account)


def test_a_worker_gives_way_between_rounds_and_a_command_does_not(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(relay, "give_way", lambda account_id, seconds: given.append(account_id))
    monkeypatch.setattr(taking, "TAKE", 1)
    people(account, 3)
    assert relay.relay(account.pk) == 3
    assert given == []
    for name in ("Bea", "Cy", "Di"):
        Customer.objects.create(account=account, external_id=name, first_name=name)
    tasks.relay(account.pk)
    assert given == [account.pk, account.pk]


def test_the_sender_of_a_backlog_gives_way_after_each_settlement_and_no_other_sender_does(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(flush, "give_way", lambda account_id, seconds: given.append(account_id))
    send_one(account, "Ada", tasks.flush_account)
    assert given == []
    send_one(account, "Cy", tasks.flush_backlog)
    assert given == [account.pk]


def test_who_has_to_stop_gives_way_to_nobody(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(flush, "give_way", lambda account_id, seconds: given.append(account_id))
    asked = iter([False])
    monkeypatch.setattr(flush.shutdown, "has_begun", lambda: next(asked, True))
    send_one(account, "Ada", tasks.flush_backlog)
    assert given == []


def send_one(account: Account, name: str, task: Any) -> None:
    Customer.objects.create(account=account, external_id=name, first_name=name)
    relay.relay(account.pk)
    task(account.pk)
    assert OutboxEntry.objects.get(customer_external_id=name).status == "delivered"


def test_others_are_told_by_the_database_s_clock(account: Account, other: Account) -> None:
    people(other)
    relay.relay(other.pk)
    assert lease.have_others_emptied(account.pk, SOON)
    assert not lease.have_others_emptied(account.pk, -SOON)


@pytest.mark.parametrize(("process", "moved"), [(0, 1), (1, 3), (2, 3)])
def test_the_first_process_of_a_worker_makes_one_round_and_comes_back_for_the_rest(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, process: int, moved: int
) -> None:
    """With a backlog in each process, all others would wait for the end of a slice."""
    told: list[int] = []
    monkeypatch.setattr(current_process(), "index", process, raising=False)
    monkeypatch.setattr(nudge, "publish_soon", told.append)
    monkeypatch.setattr(taking, "TAKE", 1)
    people(account, 3)
    tasks.relay(account.pk)
    assert OutboxEntry.objects.exclude(status="pending").count() == moved
    assert told == ([account.pk] if moved < 3 else [])


def test_one_round_leaves_nothing_behind_where_it_takes_all(account: Account, braze: BrazeSettings) -> None:
    people(account, 3)
    assert relay.relay(account.pk, most_rounds=1) == 3
    assert OutboxEntry.objects.filter(status="pending").count() == 0

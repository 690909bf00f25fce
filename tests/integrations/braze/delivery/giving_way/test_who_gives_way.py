"""Which backlogs give way, where they do, and to whom."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from integrations.braze import tasks
from integrations.braze.composing import relay, taking
from integrations.braze.delivery import flush, giving_way
from integrations.braze.delivery.giving_way import Pauses
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.outbox import lease
from integrations.outbox.clock import database_now
from integrations.outbox.models import Lease, OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.delivery.giving_way.clock import Clock, people

SOON = timedelta(seconds=60)


def waits(account: Account, pause: Callable[[Pauses], None] = Pauses.rest) -> bool:
    """After its work; or, with `Pauses.let_others_pass`, for somebody who is at work."""
    pauses, clock = Pauses(account.pk), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(giving_way, "monotonic", lambda: clock.now)
        patch.setattr(giving_way, "_stand_still", clock.stand_still)
        pauses.begin()
        clock.work(0.1)
        pauses.look_around()
        pause(pauses)
    return bool(clock.stood)


def test_it_gives_way_where_others_have_had_something_and_are_done(account: Account, other: Account) -> None:
    people(other)
    assert not waits(account)
    relay.relay(other.pk)
    assert waits(account)
    assert not waits(other)


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


@pytest.mark.parametrize("is_announced_again", [False, True])
def test_who_has_sent_what_it_had_is_no_longer_at_work(
    account: Account, other: Account, monkeypatch: pytest.MonkeyPatch, is_announced_again: bool
) -> None:
    monkeypatch.setattr(giving_way, "AT_WORK_MS", 60_000)
    people(other)
    giving_way.announce({other.pk})
    relay.relay(other.pk)
    assert waits(account, Pauses.let_others_pass)
    monkeypatch.setattr(giving_way, "AHEAD_MS", 0)
    settle = flush.insisting.settle

    def have_more(*args: Any) -> Iterator[object]:
        yield from settle(*args)
        monkeypatch.setattr(giving_way, "AT_WORK_MS", 90_000)
        giving_way.announce({other.pk})
        monkeypatch.setattr(giving_way, "AT_WORK_MS", 60_000)

    if is_announced_again:
        monkeypatch.setattr(flush.insisting, "settle", have_more)
    assert flush.flush(other.pk) == 1
    assert waits(account, Pauses.let_others_pass) == is_announced_again


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the pauses that are made, by which kind of thread."""
    asked: list[str] = []

    def note(name: str) -> Callable[[Pauses], None]:
        return lambda pauses: asked.append(name) if pauses._are_made else None

    for name in ("let_others_pass", "rest"):
        monkeypatch.setattr(Pauses, name, note(name))
    return asked


def test_a_worker_gives_way_within_and_between_rounds_and_a_command_does_not(
    account: Account, braze: BrazeSettings, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 1)
    people(account, 3)
    assert relay.relay(account.pk) == 3
    assert given == []
    for name in ("Bea", "Cy", "Di"):
        Customer.objects.create(account=account, external_id=name, first_name=name)
    tasks.relay(account.pk)
    assert given.count("rest") == 2
    # In each round, after reading it, and before its customer is composed, its request packed and all of it committed.
    assert given.count("let_others_pass") == 3 * 4


@pytest.mark.usefixtures("at_work")
def test_a_backlog_stands_still_while_it_is_composed_and_a_command_does_not(
    account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 1)
    monkeypatch.setattr(Pauses, "rest", Pauses.begin)
    people(account, 3)
    assert relay.relay(account.pk) == 3
    assert clock.stood == []
    for name in ("Bea", "Cy", "Di"):
        Customer.objects.create(account=account, external_id=name, first_name=name)
    tasks.relay(account.pk)
    assert clock.stood != []


def test_who_composes_all_that_is_pending_gives_way_to_nobody(
    account: Account, other: Account, at_work: None, clock: Clock
) -> None:
    people(account, 3)
    tasks.relay(account.pk)
    assert clock.stood == []
    assert OutboxEntry.objects.filter(account=account, status="pending").count() == 0


def test_the_process_that_is_kept_free_does_not_stand_still_in_its_round(
    account: Account, given: list[str], braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that it would give way to may be waiting for this very process."""
    monkeypatch.setattr(taking, "TAKE", 1)
    people(account, 3)
    assert relay.relay(account.pk, gives_way=True, most_rounds=1) == 1
    assert given == []


def test_the_sender_of_a_backlog_gives_way_after_each_settlement_and_no_other_sender_does(
    account: Account, braze: BrazeSettings, given: list[str]
) -> None:
    send_one(account, "Ada", tasks.flush_account)
    assert given == []
    send_one(account, "Cy", tasks.flush_backlog)
    assert given.count("rest") == 1
    assert given.count("let_others_pass") >= 2  # before it sends, and before it settles


def test_who_has_to_stop_does_not_rest(
    account: Account, braze: BrazeSettings, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False])
    monkeypatch.setattr(flush.shutdown, "has_begun", lambda: next(asked, True))
    send_one(account, "Ada", tasks.flush_backlog)
    assert "let_others_pass" in given
    assert "rest" not in given


@pytest.mark.usefixtures("at_work")
def test_the_sender_of_a_backlog_stands_still_from_its_first_request_on(
    account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([False])
    monkeypatch.setattr(flush.shutdown, "has_begun", lambda: next(asked, True))
    send_one(account, "Ada", tasks.flush_backlog)
    assert clock.stood != []


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

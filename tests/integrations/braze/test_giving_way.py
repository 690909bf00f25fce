"""A backlog leaves others, who have little to do, more time than it takes itself, and stands still while they work.

Nobody else waits for anybody.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from integrations.braze import tasks
from integrations.braze.composing import relay, taking
from integrations.braze.delivery import flush, giving_way
from integrations.braze.delivery.giving_way import Pauses
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import lease
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


class Clock:
    """Time passes only where somebody works or stands still."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.stood: list[float] = []

    def work(self, seconds: float) -> None:
        self.now += seconds

    def stand_still(self, seconds: float) -> None:
        self.now += seconds
        if seconds > 1e-9:
            self.stood.append(round(seconds, 3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(giving_way, "monotonic", lambda: clock.now)
    monkeypatch.setattr(giving_way, "_stand_still", clock.stand_still)
    return clock


@pytest.fixture
def at_work(other: Account, braze: BrazeSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other account has emptied its outbox, and is announced to be at work, for longer than anybody waits."""
    people(other)
    relay.relay(other.pk)
    monkeypatch.setattr(giving_way, "AT_WORK_MS", 60_000)
    giving_way.announce({other.pk})


def waits(account: Account) -> bool:
    pauses, clock = Pauses(account.pk), Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(giving_way, "monotonic", lambda: clock.now)
        patch.setattr(giving_way, "_stand_still", clock.stand_still)
        pauses.begin()
        clock.work(0.001)
        pauses.look_around()
        pauses.rest()
    return bool(clock.stood)


def test_it_gives_way_where_others_have_had_something_and_are_done(account: Account, other: Account) -> None:
    people(other)
    assert not waits(account)
    relay.relay(other.pk)
    assert waits(account)
    assert not waits(other)


@pytest.mark.parametrize(("most", "worked", "stood"), [(1.0, 0.01, [0.03]), (0.02, 60.0, [0.02]), (0.0, 60.0, [])])
def test_it_waits_three_times_as_long_as_it_worked_and_not_for_long(
    account: Account, other: Account, clock: Clock, settings: Any, most: float, worked: float, stood: list[float]
) -> None:
    people(other)
    relay.relay(other.pk)
    settings.BRAZE_GIVE_WAY_SECONDS = most
    pauses = Pauses(account.pk)
    clock.work(worked)
    pauses.look_around()
    pauses.rest()
    assert clock.stood == stood


@pytest.mark.usefixtures("at_work")
def test_it_stands_still_while_others_are_at_work_and_deducts_that_from_later_pauses(
    account: Account, clock: Clock
) -> None:
    pauses = Pauses(account.pk)
    pauses.look_around()
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == [0.4]  # what it has earned, and an advance
    clock.work(0.1)
    pauses.rest()
    assert clock.stood == [0.4, 0.2]
    clock.work(0.1)
    pauses.rest()
    assert clock.stood == [0.4, 0.2, 0.3]


def test_it_stands_still_for_no_longer_than_others_are_at_work(
    account: Account, other: Account, at_work: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = Pauses(account.pk)
    pauses.look_around()
    monkeypatch.setattr(giving_way, "AT_WORK_MS", 2_000)
    giving_way.announce({other.pk})
    clock.work(0.4)
    monkeypatch.setattr(giving_way, "ADVANCE_SECONDS", 60.0)
    pauses.let_others_pass()
    assert 0 < clock.stood[0] <= 2.0


@pytest.mark.usefixtures("at_work")
def test_all_threads_at_a_piece_of_work_stand_still_together(
    account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes a moment after another has looked stands still for as long, and that counts once."""
    pauses = Pauses(account.pk)
    pauses.look_around()
    clock.work(0.1)

    def stand_still(seconds: float) -> None:
        if not clock.stood:
            clock.stood.append(seconds)
            clock.work(0.001)
            pauses.let_others_pass()  # another thread, while the first one stands still
        else:
            clock.stand_still(seconds)

    monkeypatch.setattr(giving_way, "_stand_still", stand_still)
    pauses.let_others_pass()
    assert clock.stood == [pytest.approx(0.4), 0.399]
    pauses.rest()
    assert clock.stood == [pytest.approx(0.4), 0.399]  # 0.1 more than it had earned by then


@pytest.mark.usefixtures("at_work")
def test_it_does_not_stand_still_for_itself(account: Account, other: Account, clock: Clock) -> None:
    people(account)
    relay.relay(account.pk)
    pauses = Pauses(other.pk)
    pauses.look_around()
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []
    giving_way.announce({account.pk})
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == [0.7]


@pytest.mark.usefixtures("at_work")
def test_it_stands_still_for_others_even_if_it_has_more_to_do_itself(account: Account, clock: Clock) -> None:
    giving_way.announce({account.pk})
    pauses = Pauses(account.pk)
    pauses.look_around()
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == [0.4]


def test_it_does_not_stand_still_where_nobody_gets_anything_done(
    account: Account, other: Account, clock: Clock, redis_client: Any
) -> None:
    """A paused account may have changes all the time."""
    giving_way.announce({other.pk})
    pauses = Pauses(account.pk)
    pauses.look_around()
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []


def test_a_redis_that_hangs_is_asked_once_for_each_piece_of_work(
    account: Account, at_work: None, clock: Clock, settings: Any, no_redis: None
) -> None:
    """There are thousands of steps in a round, and each would wait for a time-out, while its lease runs out."""
    pauses = Pauses(account.pk)
    pauses.look_around()
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hanging.setblocking(False)
        settings.REDIS_URL = f"redis://127.0.0.1:{hanging.getsockname()[1]}/0"
        settings.REDIS_TIMEOUT_SECONDS = 0.05
        for asked in (1, 1):
            for _ in range(5):
                clock.work(0.1)
                pauses.let_others_pass()
            assert len(list(accepted(hanging))) == asked
            pauses.rest()


def accepted(server: socket.socket) -> Iterator[socket.socket]:
    with suppress(BlockingIOError):
        while True:
            yield server.accept()[0]


def test_it_goes_on_without_redis(account: Account, at_work: None, clock: Clock, no_redis: None) -> None:
    pauses = Pauses(account.pk)
    pauses.look_around()
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []
    pauses.rest()
    assert clock.stood == [0.3]


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

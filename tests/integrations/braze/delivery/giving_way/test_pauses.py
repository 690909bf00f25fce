"""How long a backlog stands still, and when: while others are at work, and for nine times as long as it works."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import giving_way
from integrations.braze.delivery.giving_way import Pauses
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.delivery.giving_way.clock import Clock, people


@pytest.fixture
def third() -> Account:
    return Account.objects.create(name="Third", slug="third")


def made_of(account: Account) -> Pauses:
    pauses = Pauses(account.pk)
    pauses.look_around()
    return pauses


@pytest.mark.parametrize(("most", "worked", "earned"), [(1.0, 0.1, 0.9), (0.5, 60.0, 0.5), (0.0, 60.0, 0.0)])
def test_a_piece_of_work_earns_nine_times_as_long_a_pause_and_not_a_long_one(
    account: Account, other: Account, clock: Clock, settings: Any, most: float, worked: float, earned: float
) -> None:
    people(other)
    relay.relay(other.pk)
    settings.BRAZE_GIVE_WAY_SECONDS = most
    pauses = made_of(account)
    for _ in range(2):
        clock.work(worked)
        pauses.rest()
    # Some of the first piece's is kept for when others are at work.
    assert clock.have_stood() == pytest.approx(max(0, 2 * earned - giving_way.KEPT_SECONDS))


@pytest.mark.usefixtures("at_work")
def test_it_stands_still_while_others_are_at_work_and_deducts_that_from_later_pauses(
    account: Account, clock: Clock
) -> None:
    pauses = made_of(account)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.have_stood() == 0.9 + 0.3  # what it has earned, and an advance
    clock.work(0.01)
    pauses.rest()
    assert clock.have_stood() == 0  # it owes more than it has earned since
    clock.work(0.1)
    pauses.rest()
    assert clock.have_stood() == pytest.approx(0.9 + 0.09 - 0.3 - 0.3)  # it owes, and keeps some


@pytest.mark.usefixtures("at_work")
def test_what_it_has_kept_is_for_when_others_are_at_work(account: Account, clock: Clock) -> None:
    pauses = made_of(account)
    clock.work(0.1)
    pauses.rest()
    assert clock.have_stood() == pytest.approx(0.9 - 0.3)
    pauses.let_others_pass()
    assert clock.have_stood() == 0.3 + 0.3


@pytest.mark.usefixtures("at_work")
def test_the_time_between_pieces_earns_nothing_but_its_pauses_count(account: Account, clock: Clock) -> None:
    """A sender waits for answers: that is no work."""
    pauses = made_of(account)
    clock.work(0.01)
    pauses.let_others_pass()
    assert clock.have_stood() == 0.09 + 0.3
    clock.work(60.0)
    pauses.begin()
    pauses.let_others_pass()
    assert clock.have_stood() == 0


@pytest.mark.usefixtures("at_work")
def test_of_what_it_has_stood_still_between_pieces_it_owes_no_more_than_an_advance(
    account: Account, clock: Clock
) -> None:
    """It had nothing else to do."""
    pauses = made_of(account)
    clock.work(60.0)
    pauses.let_others_pass()
    assert clock.have_stood() == 1.3
    pauses.begin()
    clock.work(0.1)
    pauses.rest()
    assert clock.have_stood() == pytest.approx(0.9 - 0.3 - 0.3)


@pytest.mark.usefixtures("at_work")
def test_backlogs_share_the_time_that_others_leave_them(account: Account, third: Account, clock: Clock) -> None:
    made_of(third).let_others_pass()  # from here on, it counts
    pauses = made_of(account)
    clock.have_stood()
    clock.work(0.02)
    pauses.let_others_pass()
    assert clock.have_stood() == pytest.approx(2 * 0.18 + 0.3)


@pytest.mark.usefixtures("at_work")
def test_a_backlog_that_has_ended_counts_no_more(
    account: Account, third: Account, clock: Clock, redis_client: Any
) -> None:
    redis_client.zadd(giving_way._BACKLOGS, {str(third.pk): 1})
    pauses = made_of(account)
    clock.work(0.02)
    pauses.let_others_pass()
    assert clock.have_stood() == pytest.approx(0.18 + 0.3)


@pytest.mark.usefixtures("at_work")
def test_nothing_is_left_behind_in_redis(account: Account, clock: Clock, redis_client: Any) -> None:
    clock.work(0.1)
    made_of(account).let_others_pass()
    keys = redis_client.keys("braze:{giving-way}:*")
    assert len(keys) == 2
    assert all(0 < redis_client.pttl(key) <= 60_000 for key in keys)


@pytest.fixture
def done(other: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """While a backlog stands still, the other account is done with what it began so many seconds ago."""

    def be_done(begun_ago: float) -> None:
        def stand_still(seconds: float) -> None:
            clock.stand_still(seconds)
            if len(clock.stood) == 3:
                giving_way.done(other.pk, clock.now - begun_ago)

        monkeypatch.setattr(giving_way, "_stand_still", stand_still)

    return be_done


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize(
    ("announced_ahead_ms", "begun_ago", "stood"),
    [
        pytest.param(0, 0.0, 0.03, id="announced in time"),
        pytest.param(60_000, 0.0, 1.2, id="announced a moment before it began"),
        pytest.param(0, 60.0, 1.2, id="announced after it began"),
    ],
)
def test_it_goes_on_as_soon_as_others_are_done(
    account: Account,
    clock: Clock,
    done: Any,
    monkeypatch: pytest.MonkeyPatch,
    announced_ahead_ms: int,
    begun_ago: float,
    stood: float,
) -> None:
    """What was announced later than `AHEAD_MS` before they began to send is still to be relayed."""
    monkeypatch.setattr(giving_way, "AHEAD_MS", announced_ahead_ms)
    done(begun_ago)
    pauses = made_of(account)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.have_stood() == stood


def test_who_is_done_does_not_need_redis(other: Account, clock: Clock, no_redis: None) -> None:
    giving_way.done(other.pk, clock.now)


def test_it_stands_still_for_no_longer_than_others_are_at_work(
    account: Account, other: Account, at_work: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = made_of(account)
    monkeypatch.setattr(giving_way, "STILL_SECONDS", 60.0)
    monkeypatch.setattr(giving_way, "ADVANCE_SECONDS", 60.0)
    monkeypatch.setattr(giving_way, "AT_WORK_MS", 2_000)
    giving_way.announce({other.pk})

    def stand_still(seconds: float) -> None:
        clock.stand_still(seconds)
        pauses._are_others_there = False

    monkeypatch.setattr(giving_way, "_stand_still", stand_still)
    pauses.let_others_pass()
    assert 0 < clock.have_stood() <= 2.0


@pytest.mark.usefixtures("at_work")
def test_all_threads_at_a_piece_of_work_stand_still_together(
    account: Account, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes a moment after another has looked stands still for as long, and that counts once."""
    pauses = made_of(account)
    monkeypatch.setattr(giving_way, "STILL_SECONDS", 60.0)
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
    assert clock.stood == [pytest.approx(1.2), pytest.approx(1.199)]
    pauses.rest()
    assert clock.stood == [pytest.approx(1.2), pytest.approx(1.199)]  # 0.3 more than it had earned by then


@pytest.mark.usefixtures("at_work")
def test_it_does_not_stand_still_for_itself(account: Account, other: Account, clock: Clock) -> None:
    people(account)
    relay.relay(account.pk)
    pauses = made_of(other)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []
    giving_way.announce({account.pk})
    clock.work(0.01)
    pauses.let_others_pass()
    assert clock.have_stood() == pytest.approx(0.11 * 9 + 0.3)


@pytest.mark.usefixtures("at_work")
def test_it_stands_still_for_others_even_if_it_has_more_to_do_itself(account: Account, clock: Clock) -> None:
    giving_way.announce({account.pk})
    pauses = made_of(account)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.have_stood() == pytest.approx(1.2)


def test_it_does_not_stand_still_where_nobody_gets_anything_done(
    account: Account, other: Account, clock: Clock, redis_client: Any
) -> None:
    """A paused account may have changes all the time."""
    giving_way.announce({other.pk})
    pauses = made_of(account)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []


def test_a_redis_that_hangs_is_asked_once_for_each_piece_of_work(
    account: Account, at_work: None, clock: Clock, settings: Any, no_redis: None
) -> None:
    """There are thousands of steps in a round, and each would wait for a time-out, while its lease runs out."""
    pauses = made_of(account)
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
    pauses = made_of(account)
    clock.work(0.1)
    pauses.let_others_pass()
    assert clock.stood == []
    pauses.rest()
    assert clock.have_stood() == pytest.approx(0.9 - 0.3)

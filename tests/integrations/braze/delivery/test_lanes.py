"""One lane a process and account, and no wake-up is lost."""

import sys
import threading

import pytest
from celery.signals import worker_init

from integrations.braze.delivery import lanes


def test_it_does_the_work_once_where_nobody_asks_for_more() -> None:
    looks: list[int] = []
    assert not lanes.run(1, lambda: looks.append(1))
    assert looks == [1]


def test_it_gives_others_a_turn_and_says_that_there_may_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)
    assert lanes.run(1, lambda: None)
    assert lanes.run(1, lambda: None)  # and the lane is free again


def test_it_looks_once_more_where_somebody_asks_meanwhile() -> None:
    """Just as the work has found nothing: the second asker does not wait, and what it asks for is done."""
    looks = []

    def work() -> int:
        looks.append(threading.get_ident())
        if len(looks) == 1:
            other = threading.Thread(target=lanes.run, args=(1, work))
            other.start()
            other.join()
        return 0

    assert not lanes.run(1, work)
    assert looks == [threading.get_ident()] * 2


def test_accounts_do_not_wait_for_each_other() -> None:
    looks = []

    def work() -> int:
        lanes.run(2, lambda: looks.append("other") or 0)
        return 0

    lanes.run(1, work)
    assert looks == ["other"]


def test_an_error_leaves_the_lane_free() -> None:
    def broken() -> int:
        raise ValueError

    with pytest.raises(ValueError):
        lanes.run(1, broken)
    looks = []
    lanes.run(1, lambda: looks.append(1) or 0)
    assert looks == [1]


def test_a_worker_lets_no_thread_keep_the_interpreter_for_long() -> None:
    before = sys.getswitchinterval()
    try:
        worker_init.send(sender=None)
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)


def test_work_that_is_going_on_is_told_once_that_more_was_asked_for() -> None:
    told = []

    def work() -> None:
        told.append(lanes.is_asked(1))
        lanes.run(1, lambda: None)
        told.extend((lanes.is_asked(1), lanes.is_asked(1)))

    lanes.run(1, work)
    assert told == [False, True, False]
    assert not lanes.is_asked(1)

"""One lane a process and account, and no wake-up is lost."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from celery.signals import worker_init, worker_shutdown

from dev.waiting import wait_until
from integrations.braze.delivery import lanes
from integrations.braze.delivery.lanes import Waits, Work


def doing(work: Callable[[], object]) -> Callable[[], Work]:
    """Work that waits for nothing."""

    def begin() -> Work:
        work()
        yield from ()

    return begin


class Unfinished:
    """How often it was said that there may be more."""

    said = 0

    def __call__(self) -> None:
        self.said += 1


@pytest.fixture
def unfinished() -> Unfinished:
    return Unfinished()


def test_it_does_the_work_once_where_nobody_asks_for_more(unfinished: Unfinished) -> None:
    looks: list[int] = []
    lanes.run(1, doing(lambda: looks.append(1)), unfinished)
    assert (looks, unfinished.said) == ([1], 0)


def test_it_gives_others_a_turn_and_says_that_there_may_be_more(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)
    lanes.run(1, doing(lambda: None), unfinished)
    lanes.run(1, doing(lambda: None), unfinished)  # and the lane is free again
    assert unfinished.said == 2


def test_it_looks_once_more_where_somebody_asks_meanwhile(unfinished: Unfinished) -> None:
    """Just as the work has found nothing: the second asker does not wait, and what it asks for is done."""
    looks: list[int] = []

    def work() -> None:
        looks.append(threading.get_ident())
        if len(looks) == 1:
            other = threading.Thread(target=lanes.run, args=(1, doing(work), unfinished))
            other.start()
            other.join()

    lanes.run(1, doing(work), unfinished)
    assert looks == [threading.get_ident()] * 2
    assert not unfinished.said


def test_accounts_do_not_wait_for_each_other(unfinished: Unfinished) -> None:
    looks: list[str] = []
    other = doing(lambda: looks.append("other"))
    lanes.run(1, doing(lambda: lanes.run(2, other, unfinished)), unfinished)
    assert looks == ["other"]


def test_an_error_leaves_the_lane_free(unfinished: Unfinished) -> None:
    def broken() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        lanes.run(1, doing(broken), unfinished)
    looks: list[int] = []
    lanes.run(1, doing(lambda: looks.append(1)), unfinished)
    assert looks == [1]


def test_work_that_is_going_on_is_told_once_that_more_was_asked_for(unfinished: Unfinished) -> None:
    told = []

    def work() -> None:
        told.append(lanes.is_asked(1))
        lanes.run(1, doing(lambda: None), unfinished)
        told.extend((lanes.is_asked(1), lanes.is_asked(1)))

    lanes.run(1, doing(work), unfinished)
    assert told == [False, True, False]
    assert not lanes.is_asked(1)


# --- set aside --------------------------------------------------------------------------------------------


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_most_aside", 2)


class Waiting:
    """Work that waits for one request, in whichever threads."""

    def __init__(self) -> None:
        self.request: Future[None] = Future()
        self.threads: list[str] = []

    def begin(self) -> Work:
        self.threads.append(threading.current_thread().name)
        while not self.request.done():
            yield Waits([self.request])
            self.threads.append(threading.current_thread().name)


@contextmanager
def answered_at_the_end(*waiting: Waiting) -> Iterator[None]:
    try:
        yield
    finally:
        for each in waiting:
            each.request.set_result(None)
        wait_until(lambda: not lanes._busy, "the end of all work")


@pytest.mark.usefixtures("in_worker")
def test_who_waits_for_an_answer_keeps_no_thread_and_goes_on_when_it_is_there(unfinished: Unfinished) -> None:
    waiting = Waiting()
    with answered_at_the_end(waiting):
        lanes.run(1, waiting.begin, unfinished)  # returns, so the thread is free for another account
        assert waiting.threads == [threading.current_thread().name]
    assert len(waiting.threads) == 2
    assert waiting.threads[1].startswith("braze-answered")


@pytest.mark.usefixtures("in_worker")
def test_an_answer_that_comes_just_then_is_not_missed(unfinished: Unfinished) -> None:
    waiting = Waiting()
    begun = waiting.begin()

    def begin() -> Work:
        for waits in begun:
            waiting.request.set_result(None)  # before it is set aside
            yield waits

    lanes.run(1, begin, unfinished)
    wait_until(lambda: not lanes._busy, "the end of the work")
    assert len(waiting.threads) == 2


@pytest.mark.usefixtures("in_worker")
def test_who_is_woken_takes_up_what_was_set_aside(unfinished: Unfinished) -> None:
    """It is the only one that knows of the requests in flight."""
    waiting, asked = Waiting(), []

    def begin() -> Work:
        for waits in waiting.begin():
            asked.append(lanes.is_asked(1))
            yield waits

    with answered_at_the_end(waiting):
        for _ in range(2):
            lanes.run(1, begin, unfinished)
        assert asked == [False, True]


@pytest.mark.usefixtures("in_worker")
def test_who_was_asked_for_more_is_not_set_aside_before_it_has_looked(unfinished: Unfinished) -> None:
    waiting, asked = Waiting(), []

    def begin() -> Work:
        for waits in waiting.begin():
            asked.append(lanes.is_asked(1))
            if len(asked) == 1:
                lanes.run(1, begin, unfinished)
            yield waits

    with answered_at_the_end(waiting):
        lanes.run(1, begin, unfinished)
        assert asked == [False, True]


@pytest.mark.usefixtures("in_worker")
def test_who_looks_for_nothing_any_more_is_set_aside_and_begins_anew_in_the_end(unfinished: Unfinished) -> None:
    """As after an error. Each tick asked it for more, so that it kept a thread until its request had timed out."""
    waiting, begun = Waiting(), []

    def begin() -> Work:
        begun.append(1)
        if len(begun) == 1:
            lanes.run(1, begin, unfinished)
            for waits in waiting.begin():
                yield waits._replace(looks=False)

    with answered_at_the_end(waiting):
        lanes.run(1, begin, unfinished)
        assert len(begun) == 1
    assert len(begun) == 2


def test_what_is_set_aside_goes_on_though_no_thread_can_be_started(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for Braze may have used up the machine's threads; an answer that nobody takes up becomes unknown."""

    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr(lanes, "_most_aside", 0)
    waiting, taking_up = Waiting(), ThreadPoolExecutor(2)
    with taking_up, monkeypatch.context() as limited:
        monkeypatch.setattr(lanes, "_taking_up", taking_up)
        lanes.set_up()
        limited.setattr(threading.Thread, "start", refused)
        with answered_at_the_end(waiting):
            lanes.run(1, waiting.begin, unfinished)
    assert len(waiting.threads) == 2


@pytest.mark.usefixtures("in_worker")
def test_what_is_set_aside_has_an_end(unfinished: Unfinished) -> None:
    """Each request has a thread that waits for it: whoever finds no room keeps its own, as outside of workers."""
    aside, kept = [Waiting(), Waiting()], Waiting()
    with ThreadPoolExecutor(1) as pool, answered_at_the_end(*aside, kept):
        for account_id, each in enumerate(aside):
            assert not lanes.are_crowded()
            lanes.run(account_id, each.begin, unfinished)
        assert lanes.are_crowded()
        running = pool.submit(lanes.run, 9, kept.begin, unfinished)
        wait_until(lambda: len(kept.threads) > 3, "what is not set aside")
        assert not running.done()


def test_outside_of_workers_the_end_is_waited_for(unfinished: Unfinished) -> None:
    waiting = Waiting()
    with ThreadPoolExecutor(1) as pool, answered_at_the_end(waiting):
        running = pool.submit(lanes.run, 1, waiting.begin, unfinished)
        wait_until(lambda: len(waiting.threads) > 3, "the wait")
        assert not running.done() and not lanes.are_crowded()


@pytest.mark.usefixtures("in_worker")
def test_work_that_breaks_off_after_it_was_set_aside_leaves_the_lane_free(
    unfinished: Unfinished, caplog: pytest.LogCaptureFixture
) -> None:
    request: Future[None] = Future()

    def begin() -> Work:
        yield Waits([request])
        raise ValueError("of this account alone")

    lanes.run(1, begin, unfinished)
    request.set_result(None)
    wait_until(lambda: not lanes._busy, "the end of the work")
    wait_until(lambda: "of this account alone" in caplog.text, "the complaint")


@pytest.mark.usefixtures("in_worker")
def test_a_turn_that_is_over_by_the_time_of_the_answer_says_so(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0.0)
    waiting = Waiting()
    with answered_at_the_end(waiting):
        lanes.run(1, waiting.begin, unfinished)
    wait_until(lambda: unfinished.said == 1, "the word that there may be more")


@pytest.mark.usefixtures("in_worker")
def test_a_worker_that_stops_waits_for_what_it_has_set_aside(unfinished: Unfinished) -> None:
    """Else the answers of the next seconds would be lost, and their outcomes unknown."""
    waiting = Waiting()
    with ThreadPoolExecutor(1) as pool:
        with answered_at_the_end(waiting):
            lanes.run(1, waiting.begin, unfinished)
            stopping = pool.submit(worker_shutdown.send, sender=None)
            wait_until(stopping.running, "the stop")
            assert not stopping.done()
        stopping.result(10)
    assert len(waiting.threads) == 2


def test_a_worker_lets_no_thread_keep_the_interpreter_for_long_and_sets_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_most_aside", 0)
    before = sys.getswitchinterval()
    try:
        worker_init.send(sender=None)
        assert sys.getswitchinterval() == pytest.approx(0.001)
        assert lanes._most_aside == lanes.MOST_ASIDE
    finally:
        sys.setswitchinterval(before)

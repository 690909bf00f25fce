"""Accounts whose Braze hangs keep no thread, so there are threads for all others, however many of them hang at once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection

from dev.waiting import wait_until
from integrations.braze import tasks
from integrations.braze.composing import relay
from integrations.braze.delivery import flush, lanes
from integrations.braze.delivery.sender import Sending
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer

pytestmark = pytest.mark.django_db(transaction=True)

HANGS_SECONDS = 5.0


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch, woken: None) -> Iterator[None]:
    """Of one thread, which is the test's own, and one that takes up what was set aside."""
    monkeypatch.setattr(lanes, "_most_aside", lanes.MOST_ASIDE)
    with ThreadPoolExecutor(1) as taking_up:
        monkeypatch.setattr(lanes, "_taking_up", taking_up)
        yield
        wait_until(lambda: not lanes._busy, "the end of all work")
        taking_up.submit(lambda: connection.close()).result()


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is woken but by the test."""
    monkeypatch.setattr(tasks, "wake_flush", lambda *_, **__: None)


@pytest.fixture
def hanging(account: Account, braze: BrazeSettings, sandbox: SandboxServer) -> Account:
    sandbox.faults.add(latency=HANGS_SECONDS, key=braze.api_key)
    change(account, "slow")
    return account


@pytest.fixture
def healthy(account: Account, braze: BrazeSettings) -> Account:
    other = Account.objects.create(name="Other", slug="other")
    theirs = BrazeSettings.objects.get(pk=braze.pk)
    theirs.pk, theirs.account, theirs.api_key, theirs._state.adding = None, other, "another-key", True
    theirs.save()
    change(other, "quick")
    return other


def change(account: Account, name: str) -> None:
    Customer.objects.create(account=account, external_id=name)
    relay.relay(account.pk)


def status(name: str) -> str:
    return OutboxEntry.objects.get(customer_external_id=name).status


@pytest.mark.usefixtures("in_worker")
@pytest.mark.parametrize("is_failing, task", [(False, tasks.flush_account), (True, tasks.probe_account)])
def test_one_that_hangs_keeps_no_other_from_being_served(
    hanging: Account, healthy: Account, is_failing: bool, task: Callable[[int], None]
) -> None:
    """Nor what else the worker has to do, as that of probation: its threads are not all waiting for Braze."""
    for each in (hanging, healthy):
        BrazeState.objects.filter(account=each).update(failures=int(is_failing))
    task(hanging.pk)
    task(healthy.pk)
    assert (status("slow"), status("quick")) == ("buffered", "delivered")
    wait_until(lambda: status("slow") == "delivered", "the answer")


@pytest.mark.usefixtures("in_worker")
def test_one_that_hangs_goes_on_sending_when_woken(hanging: Account) -> None:
    """A request without an answer holds up no other of its account, either."""
    tasks.flush_account(hanging.pk)
    change(hanging, "second")
    tasks.flush_account(hanging.pk)
    assert Delivery.objects.filter(started_at__isnull=False, finished_at=None).count() == 2
    wait_until(lambda: status("second") == "delivered", "the answers")


@pytest.mark.parametrize("is_crowded", [False, True])
def test_one_that_answers_nothing_starts_no_more_while_too_many_hang(
    hanging: Account, monkeypatch: pytest.MonkeyPatch, is_crowded: bool
) -> None:
    """Each of its requests occupies a thread, and those of a process have an end."""
    monkeypatch.setattr(flush, "SLICE_SECONDS", 60.0)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.1)
    monkeypatch.setattr(flush, "LOOK_UNASKED_SECONDS", 0.1)
    monkeypatch.setattr(lanes, "are_crowded", lambda: is_crowded)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush_and_close, hanging.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        change(hanging, "second")
        started = partial(Delivery.objects.filter(started_at__isnull=False).count)
        wait_until(lambda: started() == 2 or status("slow") == "delivered", "the second request, or the first answer")
        assert status("slow") == ("delivered" if is_crowded else "buffered")
        assert flushing.result() == 2


@pytest.mark.parametrize(
    "out_for, answered, is_silent",
    [(5.0, 6.0, True), (5.0, 4.0, False), (0.5, 6.0, False), (None, 6.0, False)],
)
def test_one_that_answers_is_none_of_those_that_hang(out_for: float | None, answered: float, is_silent: bool) -> None:
    """Where one request hangs, but others are answered, the account goes on though too many others hang."""
    now, settings = time.monotonic(), BrazeSettings()
    with ThreadPoolExecutor(1) as senders:
        work = flush._Flush(1, None, senders, answered_at=now - answered)
        if out_for is not None:
            work.in_flight[Future()] = Sending(uuid4(), "track", b"", settings, now - out_for, now, now)
        assert work._is_silent() is is_silent


def flush_and_close(account_id: int) -> int:
    try:
        return flush.flush(account_id)
    finally:
        connection.close()

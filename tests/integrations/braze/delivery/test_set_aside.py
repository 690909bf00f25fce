"""Accounts whose Braze hangs keep no thread, so there are threads for all others, however many of them hang at once."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import pytest
import responses
from django.db import OperationalError, connection
from requests import PreparedRequest

from dev.waiting import wait_until
from integrations.braze import tasks
from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, insisting, lanes, settlement
from integrations.braze.delivery.settlement import Answered
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import flush_and_close

pytestmark = pytest.mark.django_db(transaction=True)


class Braze:
    """Answers nothing that is about `slow` until it is let go, and all else at once."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def answer(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        body = json.loads(request.body or "{}")
        if "slow" in str(body):
            assert self.may_answer.wait(60)
        return 201, {}, json.dumps({"message": "success", "attributes_processed": len(body["attributes"])})

    def let_go(self) -> None:
        self.may_answer.set()


@pytest.fixture
def hangs(braze: BrazeSettings) -> Iterator[Braze]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        made = Braze()
        mock.add_callback(responses.POST, f"{braze.rest_endpoint}/users/track", made.answer)
        yield made
        made.let_go()
        wait_until(lambda: not lanes._busy, "the end of all work")


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch, hangs: Braze, woken: None) -> Iterator[None]:
    """Of one thread, which is the test's own, and one that takes up what was set aside."""
    monkeypatch.setattr(lanes, "_most_aside", lanes.MOST_ASIDE)
    with ThreadPoolExecutor(1) as taking_up:
        monkeypatch.setattr(lanes, "_taking_up", taking_up)
        yield
        hangs.let_go()
        wait_until(lambda: not lanes._busy, "the end of all work")
        taking_up.submit(lambda: connection.close()).result()


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is woken but by the test."""
    monkeypatch.setattr(tasks, "wake_flush", lambda *_, **__: None)


@pytest.fixture
def hanging(account: Account, hangs: Braze) -> Account:
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
    hanging: Account, healthy: Account, hangs: Braze, is_failing: bool, task: Callable[[int], None]
) -> None:
    """Nor what else the worker has to do, as that of probation: its threads are not all waiting for Braze."""
    for each in (hanging, healthy):
        BrazeState.objects.filter(account=each).update(failures=int(is_failing))
    task(hanging.pk)
    task(healthy.pk)
    assert (status("slow"), status("quick")) == ("buffered", "delivered")
    hangs.let_go()
    wait_until(lambda: status("slow") == "delivered", "the answer")


@pytest.mark.usefixtures("in_worker")
def test_one_that_hangs_goes_on_sending_when_woken(hanging: Account, hangs: Braze) -> None:
    """A request without an answer holds up no other of its account, either."""
    tasks.flush_account(hanging.pk)
    change(hanging, "second")
    tasks.flush_account(hanging.pk)
    wait_until(lambda: status("second") == "delivered", "the second")
    assert status("slow") == "buffered"


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush, "SLICE_SECONDS", 60.0)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.1)
    monkeypatch.setattr(flush, "LOOK_UNASKED_SECONDS", 0.1)


@pytest.mark.usefixtures("quick_looks")
@pytest.mark.parametrize("is_crowded", [False, True])
def test_one_that_answers_nothing_starts_no_more_while_too_many_hang(
    hanging: Account, hangs: Braze, monkeypatch: pytest.MonkeyPatch, is_crowded: bool
) -> None:
    """Each of its requests occupies a thread, and those of a process have an end."""
    asked: list[None] = []

    def are_crowded() -> bool:
        asked.append(None)
        return is_crowded

    monkeypatch.setattr(lanes, "are_crowded", are_crowded)
    started = partial(Delivery.objects.filter(started_at__isnull=False).count)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush_and_close, hanging.pk)
        wait_until(started, "the first request")
        change(hanging, "second")
        before = len(asked)
        wait_until(lambda: started() == 2 or len(asked) > before + 2, "the second request, or more looks for it")
        assert (started(), status("slow")) == (1 if is_crowded else 2, "buffered")
        hangs.let_go()
        assert flushing.result() == 2


@pytest.mark.usefixtures("quick_looks")
def test_one_that_answers_goes_on_while_too_many_others_hang(
    hanging: Account, hangs: Braze, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one request hangs, but others are answered, the account is none of those that hang."""
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush_and_close, hanging.pk)
        wait_until(lambda: buffer.is_empty(hanging.pk) and Delivery.objects.exclude(started_at=None), "the first")
        change(hanging, "second")
        wait_until(lambda: status("second") == "delivered", "the second")
        monkeypatch.setattr(lanes, "are_crowded", lambda: True)
        change(hanging, "third")
        wait_until(lambda: status("third") == "delivered", "the third")
        assert status("slow") == "buffered"
        hangs.let_go()
        assert flushing.result() == 3


@pytest.fixture
def unwritable(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The database takes no settlement of `account` until it is healed."""
    is_healed, settle_all = threading.Event(), settlement.settle_all

    def settle_unless_ill(account_id: int, answers: Sequence[Answered]) -> set[UUID]:
        if account_id == account.pk and not is_healed.is_set():
            raise OperationalError("could not extend file: No space left on device")
        return settle_all(account_id, answers)

    monkeypatch.setattr(settlement, "settle_all", settle_unless_ill)
    monkeypatch.setattr(insisting, "INSIST_SECONDS", 20.0)
    monkeypatch.setattr(insisting, "RETRY_SECONDS", 0.05)
    yield is_healed
    is_healed.set()


@pytest.mark.usefixtures("in_worker")
def test_one_whose_answers_the_database_does_not_take_keeps_no_thread_either(
    account: Account, healthy: Account, unwritable: threading.Event
) -> None:
    """All threads were kept for five minutes by as many accounts; answers to others waited until they were unknown."""
    change(account, "first")
    tasks.flush_account(account.pk)
    tasks.flush_account(healthy.pk)
    assert (status("first"), status("quick")) == ("buffered", "delivered")
    tasks.flush_account(account.pk)  # each tick does: it keeps no thread, either
    unwritable.set()
    wait_until(lambda: status("first") == "delivered", "the database to take the answer")

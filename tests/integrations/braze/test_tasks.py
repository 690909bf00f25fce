"""The ticks of sweep and flush: one account's trouble keeps no other from being woken and settled."""

import threading
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from dev.waiting import wait_until
from integrations.braze import tasks
from integrations.braze.composing import relay, taking
from integrations.braze.delivery import buffer, commits, flush, lanes, ledger, settlement, silent
from integrations.braze.erasure import erasing, scrubbing
from integrations.braze.integration import BrazeIntegration
from integrations.braze.models import BrazeSettings, BrazeState, DeletedCustomer, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import sweep as sweeping
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from integrations.outbox.tasks import sweep
from masivo_braze.celery import app
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import started
from tests.integrations.braze.orders import fulfilled

Shops = tuple[Account, Account]


@pytest.fixture
def shops(account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Shops:
    """Two accounts with a request that is ready, in the order in which a tick comes to them."""
    other = Account.objects.create(name="Other", slug="other")
    theirs = BrazeSettings.objects.get(pk=braze.pk)
    theirs.pk, theirs.account, theirs.api_key, theirs._state.adding = None, other, "another-key", True
    theirs.save()
    for each in (account, other):
        fulfilled(each, Customer.objects.create(account=each, external_id="c1"), ("CD", 10))
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


# --- backlogs ---------------------------------------------------------------------------------------------


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tasks that were sent to senders."""
    names: list[str] = []
    for name in ("flush_account", "flush_backlog", "probe_account"):
        monkeypatch.setattr(getattr(tasks, name), "apply_async", lambda *_, name=name, **__: names.append(name))
    return names


def test_what_a_round_leaves_behind_is_sent_by_the_worker_of_backlogs(
    account: Account, braze: BrazeSettings, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 2)
    for number in range(3):
        Customer.objects.create(account=account, external_id=f"c{number}")
    relay.relay(account.pk)
    assert messages == ["flush_backlog", "flush_account"]


@pytest.mark.parametrize("number, task", [(2, "flush_account"), (3, "flush_backlog")])
def test_a_tick_leaves_more_than_can_be_in_flight_to_the_worker_of_backlogs(
    account: Account, braze: BrazeSettings, messages: list[str], monkeypatch: pytest.MonkeyPatch, number: int, task: str
) -> None:
    monkeypatch.setattr(buffer, "IN_FLIGHT", 2)
    for each in range(number):
        Customer.objects.create(account=account, external_id=f"c{each}")
        relay.relay(account.pk)
    messages.clear()
    tasks.flush()
    assert set(messages) == {task}


@pytest.mark.parametrize("is_failing, task", [(False, "flush_backlog"), (True, "probe_account")])
def test_what_is_left_after_a_turn_is_a_backlog(
    account: Account,
    braze: BrazeSettings,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
    is_failing: bool,
    task: str,
) -> None:
    BrazeState.objects.filter(account=account).update(failures=int(is_failing))
    monkeypatch.setattr(lanes, "TURN_SECONDS", 0)
    tasks.flush_account(account.pk)
    assert messages == [task]


# --- what went silent ------------------------------------------------------------------------------------


def leave_silent(*accounts: Account) -> None:
    """Their requests were started by senders that are dead by now."""
    ids = Delivery.objects.filter(account__in=accounts).values_list("pk", flat=True)
    assert ledger.start_all(ids) == set(ids)
    Delivery.objects.filter(pk__in=ids).update(deadline=database_now() - timedelta(seconds=1))


def outcomes(account: Account) -> set[str]:
    return set(Delivery.objects.filter(account=account).values_list("outcome", flat=True))


@pytest.mark.usefixtures("woken")
def test_what_went_silent_is_settled_without_redis_too(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, _ = shops
    leave_silent(bad)
    monkeypatch.setattr(tasks, "wake_flush", mock.Mock(side_effect=redis.ConnectionError()))
    tasks.flush()
    assert outcomes(bad) == {"unknown"}


def test_of_an_account_that_is_locked_one_silent_request_is_tried(
    shops: Shops, woken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have thousands: each would wait for a while."""
    bad, good = shops
    for number in range(2):
        Customer.objects.create(account=bad, external_id=f"more{number}")
        relay.relay(bad.pk)
    leave_silent(bad, good)
    settle_all, tried = settlement.settle_all, []

    def fail(account_id: int, *arguments: Any) -> Any:
        tried.append(account_id)
        if account_id == bad.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return settle_all(account_id, *arguments)

    monkeypatch.setattr(settlement, "settle_all", fail)
    tasks.flush()
    assert sorted(tried) == [bad.pk, good.pk]
    assert (outcomes(bad), outcomes(good)) == ({""}, {"unknown"})


def settings_of(account: Account) -> "QuerySet[Any]":
    return BrazeSettings.objects.filter(account=account)


def requests_of(account: Account) -> "QuerySet[Any]":
    return Delivery.objects.filter(account=account)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rows", [settings_of, requests_of])
def test_what_is_locked_of_one_account_holds_up_the_tick_of_no_other(
    shops: Shops, woken: list[int], monkeypatch: pytest.MonkeyPatch, rows: Any
) -> None:
    """By a save that takes its time, or a session that somebody left open: ticks would pile up behind it."""
    bad, good = shops
    leave_silent(bad, good)
    monkeypatch.setattr(flush, "due_accounts", lambda: [good.pk])
    with transaction.atomic():
        assert list(rows(bad).select_for_update())
        tick = started(tasks.flush)
        tick.join(20)
        was_held_up, found = tick.is_alive(), (woken[:], outcomes(bad), outcomes(good))
    tick.join()
    assert not was_held_up
    assert found == ([good.pk], {""}, {"unknown"})
    tasks.flush()
    assert outcomes(bad) == {"unknown"}


def test_the_sweep_does_not_queue_behind_the_relays_of_backlogs() -> None:
    """It expires within a second: behind eight backlogs none was made, and what waits for a moment waited for them."""
    tick = app.conf["beat_schedule"]["sweep"]["task"]
    queues = {name: app.amqp.router.route({}, name)["queue"].name for name in (tick, tasks.relay.name)}
    assert queues == {tick: "flush", tasks.relay.name: "relay"}


# --- many accounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tick, begins",
    [(tasks.flush, (flush, "due_accounts")), (sweep, (sweeping, "sweep")), (tasks.scrub, (scrubbing, "work_off"))],
)
def test_a_tick_that_takes_longer_than_its_period_is_not_joined_by_the_next(
    monkeypatch: pytest.MonkeyPatch, tick: Any, begins: tuple[Any, str]
) -> None:
    """With a thousand accounts that had something to send it took two seconds: soon all threads were at it."""
    entered, goes_on, calls = threading.Event(), threading.Event(), []

    def take_long() -> list[int]:
        calls.append(1)
        entered.set()
        assert goes_on.wait(10)
        return []

    monkeypatch.setattr(*begins, take_long)
    monkeypatch.setattr(silent, "settle", lambda: None)
    first = threading.Thread(target=tick)
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=tick)
    second.start()
    second.join(2)
    was_joined = second.is_alive()
    goes_on.set()
    for each in (first, second):
        each.join(10)
    assert not was_joined
    tick()
    assert len(calls) == 2


@pytest.mark.parametrize(
    "setting, state",
    [
        pytest.param({}, {"paused_at": timezone.now(), "pause_kind": "refused"}, id="paused"),
        pytest.param({}, {"held_at": timezone.now(), "held_by": "anna"}, id="paused by somebody"),
        pytest.param({}, {"failures": 1, "backoff_until": timezone.now() + timedelta(days=1)}, id="backing off"),
        pytest.param({"is_enabled": False}, {}, id="switched off"),
        pytest.param({"api_key": ""}, {}, id="incomplete"),
    ],
)
def test_the_sweep_wakes_no_relays_of_accounts_that_may_not_send(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, setting: Any, state: Any
) -> None:
    """A thousand of them woke a thousand relays a second; everybody else's waited behind these, or were given up."""
    nudged: list[int] = []
    monkeypatch.setattr(BrazeIntegration, "nudge", lambda self, account_id: nudged.append(account_id))
    Customer.objects.create(account=account, external_id="c1")
    asleep = [Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}") for number in range(6)]
    for each in asleep:
        made = BrazeSettings.objects.create(
            account=each, is_enabled=True, api_key="k", rest_endpoint=braze.rest_endpoint
        )
        BrazeSettings.objects.filter(pk=made.pk).update(**setting or {"is_enabled": True})
        BrazeState.objects.filter(account=each).update(**state or {"failures": 0})
        OutboxEntry.objects.create(
            account=each, integration="braze", kind="event", customer_external_id="c", subject="1"
        )
    sweeping.sweep()
    assert nudged == [account.pk]
    BrazeState.objects.update(paused_at=None, held_at=None, backoff_until=None)
    BrazeSettings.objects.filter(account__in=asleep).update(is_enabled=True, api_key="k")
    nudged.clear()
    sweeping.sweep()
    assert set(nudged) == {account.pk, *(each.pk for each in asleep)}


def test_a_mail_server_that_hangs_keeps_few_threads_from_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a hundred notices took a thread for ten seconds: accounts on probation waited for a minute."""
    waiting, sent = list(range(5)), []
    goes_on, is_free = threading.Event(), threading.Event()

    def send(notice_id: int) -> None:
        if notice_id in waiting:
            waiting.remove(notice_id)
            sent.append(notice_id)
            assert goes_on.wait(10)

    monkeypatch.setattr(tasks.notices, "send", send)
    monkeypatch.setattr(tasks.notices, "due", lambda: list(waiting))
    telling = [threading.Thread(target=tasks.tell, args=(number,)) for number in range(tasks.MAILING)]
    for each in telling:
        each.start()
    wait_until(lambda: len(sent) == tasks.MAILING, "the mails that hang")
    late = threading.Thread(target=lambda: (tasks.tell(4), is_free.set()))
    late.start()
    was_free = is_free.wait(2)
    goes_on.set()
    for each in (*telling, late):
        each.join(10)
    assert was_free
    assert sorted(sent) == list(range(5)), "nothing that found no thread is left behind"
    tasks.tell(5)  # the places are free again


def test_one_account_with_many_deleted_customers_keeps_no_other_from_being_scrubbed(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the first account's were scrubbed before any of the next: with a hundred thousand, for hours."""
    other, third = (Account.objects.create(name=slug, slug=slug) for slug in ("other", "third"))
    for each, number in ((account, 9), (other, 9), (third, 1)):
        DeletedCustomer.objects.bulk_create(
            DeletedCustomer(account=each, external_id=f"c{place}", last_entry=0) for place in range(number)
        )
    clock, turns = [0.0], []

    def take_long(account_id: int, customers: Any) -> set[str]:
        clock[0] += 0.6 * scrubbing.SLICE_SECONDS
        turns.append(account_id)
        return set()

    monkeypatch.setattr(scrubbing, "TOGETHER", 1)
    monkeypatch.setattr(scrubbing, "monotonic", lambda: clock[0])
    monkeypatch.setattr(erasing, "erase", take_long)
    tasks.scrub()
    tasks.scrub()
    assert set(turns[:3]) == {account.pk, other.pk, third.pk}

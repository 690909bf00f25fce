"""Relays are woken after commits, debounced, and never at the expense of a save."""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from unittest.mock import Mock

import pytest
from django.conf import settings
from django.db import transaction

from integrations.outbox import nudge, registry, sweep
from integrations.outbox.models import OutboxEntry, Status, Topic
from masivo_braze.celery import app
from masivo_braze.loyalty.models import Account, Customer, Event

Want = Callable[..., None]
pytestmark = pytest.mark.django_db(transaction=True)


def until(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        threading.Event().wait(0.005)
    return bool(condition())


def test_it_wakes_the_relay_after_the_commit(account: Account, want: Want, nudged: list[int]) -> None:
    want(Topic.CUSTOMER_CREATED)
    with transaction.atomic():
        Customer.objects.create(account=account, external_id="c1")
        assert not until(lambda: nudged, seconds=0.1)
    assert until(lambda: nudged)
    assert nudged == [account.pk]


def test_it_publishes_a_burst_of_commits_a_few_times_at_most(
    account: Account, want: Want, nudged: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudge, "DEBOUNCE_SECONDS", 0.5)
    want(Topic.CUSTOMER_CREATED)
    begun = time.monotonic()
    for number in range(20):
        Customer.objects.create(account=account, external_id=f"c{number}")
    assert until(lambda: nudged)
    assert len(nudged) <= 1 + (time.monotonic() - begun) / nudge.DEBOUNCE_SECONDS


def test_it_does_not_wake_anybody_for_what_nobody_wants(account: Account, nudged: list[int]) -> None:
    Customer.objects.create(account=account, external_id="c1")
    assert not until(lambda: nudged, seconds=0.1)


def test_a_thread_that_cannot_be_started_fails_no_save_and_is_started_by_a_later_one(
    account: Account, want: Want, nudged: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A container's limit of threads: without another attempt, this process would never nudge again."""
    monkeypatch.setattr(nudge, "_nudger", nudge._Nudger())
    want(Topic.CUSTOMER_CREATED)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start new thread")))
        Customer.objects.create(account=account, external_id="c1")
        nudge.publish_soon(account.pk)
    assert "can't start new thread" in caplog.text
    assert not nudged
    Customer.objects.create(account=account, external_id="c2")
    assert until(lambda: nudged)
    assert OutboxEntry.objects.filter(status=Status.PENDING).count() == 2


@pytest.fixture
def hanging_broker() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def test_a_broker_that_hangs_does_not_hold_up_a_save(
    account: Account, want: Want, hanging_broker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this order: the one that is written to is the other where it has none of its own, also when it is put back.
    monkeypatch.setattr(app.conf, "broker_write_url", f"redis://127.0.0.1:{hanging_broker}/0")
    monkeypatch.setattr(app.conf, "broker_url", f"redis://127.0.0.1:{hanging_broker}/0")
    want(Topic.CUSTOMER_CREATED)
    seconds = []
    for number in range(20):
        begun = time.monotonic()
        Customer.objects.create(account=account, external_id=f"c{number}")
        seconds.append(time.monotonic() - begun)
    assert max(seconds) < settings.REDIS_TIMEOUT_SECONDS  # the least that waiting for the broker takes
    assert OutboxEntry.objects.filter(status=Status.PENDING).count() == 20


class Broken:
    """An integration whose every part raises."""

    name = "broken"

    def wants(self, account_id: int) -> frozenset[Topic]:
        raise RuntimeError("wants")

    def announce(self, account_ids: Collection[int]) -> None:
        raise RuntimeError("announce")

    def nudge(self, account_id: int) -> None:
        raise RuntimeError("nudge")


class Sound:
    name = "sound"

    def __init__(self) -> None:
        self.told: list[object] = []
        self.nudges: list[int] = []

    def wants(self, account_id: int) -> frozenset[Topic]:
        return frozenset(Topic)

    def announce(self, account_ids: Collection[int]) -> None:
        self.told.append(set(account_ids))

    def nudge(self, account_id: int) -> None:
        self.told.append(account_id)
        self.nudges.append(account_id)


@pytest.fixture
def two_integrations(monkeypatch: pytest.MonkeyPatch) -> Sound:
    sound = Sound()
    monkeypatch.setattr(registry, "_integrations", {"broken": Broken(), "sound": sound})
    return sound


def test_a_commit_is_announced_before_its_relay_is_woken_and_work_that_goes_on_is_not(
    account: Account, two_integrations: Sound, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudge, "_nudger", nudge._Nudger())
    want(Topic.CUSTOMER_CREATED, integration="sound")
    Customer.objects.create(account=account, external_id="c1")
    assert until(lambda: two_integrations.nudges)
    assert two_integrations.told == [{account.pk}, account.pk]
    nudge.publish_soon(account.pk)
    assert until(lambda: len(two_integrations.nudges) == 2)
    assert two_integrations.told == [{account.pk}, account.pk, account.pk]


def test_what_is_committed_just_before_the_message_leaves_is_not_announced_after_it(
    account: Account, two_integrations: Sound, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudge, "_nudger", nudge._Nudger())
    monkeypatch.setattr(nudge, "DEBOUNCE_SECONDS", 0.3)
    want(Topic.CUSTOMER_CREATED, integration="sound")
    Customer.objects.create(account=account, external_id="c1")
    assert until(lambda: two_integrations.told)
    Customer.objects.create(account=account, external_id="c2")
    assert until(lambda: two_integrations.nudges)
    nudge.publish_soon(account.pk)
    assert until(lambda: len(two_integrations.nudges) == 2)
    assert two_integrations.told == [{account.pk}, account.pk, account.pk]


def test_an_integration_that_fails_keeps_nobody_else_from_being_woken(
    account: Account, two_integrations: Sound
) -> None:
    nudge.publish(account.pk)
    assert two_integrations.nudges == [account.pk]


def test_the_sweep_finds_accounts_whose_nudge_was_lost(
    account: Account, want: Want, two_integrations: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nudge, "after_commit", lambda account_ids: None)
    Account.objects.create(name="Idle", slug="idle")
    want(Topic.EVENTS)
    one = Customer.objects.create(account=account, external_id="c1")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    assert sweep.sweep() == [account.pk]
    assert two_integrations.nudges == [account.pk]
    OutboxEntry.objects.update(status=Status.DELIVERED)
    assert sweep.sweep() == []

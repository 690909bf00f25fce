"""Clocks of machines may be wrong by an hour; what counts is the database's."""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
import time_machine
from django.db.models import F, Model
from django.utils import timezone

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, ledger, readiness, sender, settlement, silent
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.models import (
    Backfill,
    BrazeProfile,
    BrazePurchase,
    BrazeSettings,
    BrazeState,
    Delivery,
    Notice,
    Outcome,
)
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts, settle_all

Sync = Callable[[], None]
#: What is compared with the database's clock, or added to, to know whether a wait is over.
DATED: dict[type[Model], tuple[str, ...]] = {
    Backfill: ("moved_at",),
    BrazeProfile: ("deleted_at", "last_accepted_at"),
    BrazePurchase: ("settled_at",),
    BrazeState: ("backoff_from", "backoff_until"),
    Delivery: ("started_at", "deadline"),
    Notice: ("tried_at",),
    OutboxEntry: ("due_at", "settled_at"),
}


class SameThread(Executor):
    """What is submitted is done at once: SQLite in memory has one connection."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **_: Any) -> Any:
        function(*arguments)


@pytest.mark.parametrize("save", [BrazeSettings.save, lambda settings: BrazeSettings.objects.update(is_enabled=True)])
def test_settings_saved_by_a_clock_that_is_ahead_keep_no_request_from_being_halved(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    sync: Sync,
    save: Callable[[BrazeSettings], object],
) -> None:
    """Requests looked older than the settings for an hour, so each refused one was composed anew, without end."""
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        save(braze)
    _sync_with_a_culprit(account, sandbox, sync)


def test_requests_of_a_worker_whose_clock_is_behind_are_halved(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=1)):
        _sync_with_a_culprit(account, sandbox, sync)


def test_requests_are_halved_though_the_database_s_clock_was_set_back_since_the_settings_were_saved(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The settings' date was still to come: each refused request was composed anew, without a pause, for an hour."""
    BrazeSettings._base_manager.update(updated_at=database_now() + timedelta(hours=1))
    _sync_with_a_culprit(account, sandbox, sync)


def test_what_braze_refuses_by_name_ends_though_the_database_s_clock_was_set_back(
    account: Account, braze: BrazeSettings
) -> None:
    BrazeSettings._base_manager.update(updated_at=database_now() + timedelta(hours=1))
    Customer.objects.create(account=account, external_id="culprit")
    relay.relay(account.pk)
    request = Delivery.objects.get()
    ledger.start(request.pk)
    named = {("attributes", 0): ObjectFate.REJECTED}
    refused = Verdict(Outcome.PARTIAL, ObjectFate.DELIVERED, Traffic.GO_ON, fates=named)
    settlement.settle(request.pk, refused, 201)
    assert OutboxEntry.objects.get().status == "rejected"


def test_what_is_being_sent_is_not_given_up_because_the_database_s_clock_was_set_forward(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events were sent once more while their sender still waited for the answer, and counted twice."""
    relay.relay(account.pk)
    send = sender.send

    def send_while_the_clock_jumps(sending: sender.Sending) -> sender.Sent:
        answer = send(sending)
        Delivery.objects.update(deadline=database_now() - timedelta(hours=1))
        silent.settle()
        return answer

    monkeypatch.setattr(sender, "send", send_while_the_clock_jumps)
    monkeypatch.setattr(flush, "ThreadPoolExecutor", SameThread)
    monkeypatch.setattr(buffer, "CLAIM_MS", 0)  # a request may take longer than what is claimed has until the start
    flush.flush(account.pk)
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["events"] == 1


def test_a_claim_that_ends_too_late_keeps_no_request_from_being_settled(
    account: Account, change: Customer, redis_client: Any
) -> None:
    """It was made before Redis' clock went back, and its sender is dead."""
    relay.relay(account.pk)
    request = Delivery.objects.get()
    assert buffer.claim(account.pk)
    assert ledger.start(request.pk)
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    silent.settle()
    assert Delivery.objects.get().outcome == ""
    redis_client.zincrby(f"braze:{{{account.pk}}}:flight", 3_600_000, str(request.pk))
    silent.settle()
    assert Delivery.objects.get().outcome == "unknown"


def set_back() -> None:
    """The database's clock, by an hour: from then on, what was stored before is dated an hour ahead."""
    for model, fields in DATED.items():
        model._default_manager.update(**{field: F(field) + timedelta(hours=1) for field in fields})


@pytest.mark.parametrize("status", [503, 429])
def test_a_wait_is_not_prolonged_because_the_database_s_clock_was_set_back(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    """The account stood still for an hour. How long it has waited is not known, so it tries again."""
    sandbox.faults.add(status=status, retry_after=0.05, times=1)
    sync()
    assert readiness.of(account.pk).state == "backing off"
    assert readiness.not_ready([account.pk]) == {account.pk}
    set_back()
    assert readiness.of(account.pk).state == "healthy"
    assert readiness.not_ready([account.pk]) == set()

    def all_are_delivered() -> bool:
        sync()
        return counts() == {"delivered": 4}

    wait_until(all_are_delivered, "the end of what Braze asked for, which the limiter keeps by Redis' clock")


def test_a_failure_after_the_database_s_clock_was_set_back_makes_it_wait_as_long_as_any_other(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Neither until the old time, nor not at all as if its request had been in flight with the first."""
    sandbox.faults.add(status=503, times=2)
    sync()
    set_back()
    sync()
    state = BrazeState.objects.get()
    assert state.failures == 2
    assert state.backoff_until is not None
    assert timedelta(0) < state.backoff_until - database_now() < timedelta(seconds=2)


def test_a_change_does_not_wait_for_the_last_one_because_the_database_s_clock_was_set_back(
    account: Account, braze: BrazeSettings, sync: Sync
) -> None:
    """It waited for as long as the clock was set back, instead of some seconds."""
    BrazeSettings.objects.update(attribute_gap_seconds=300)
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    profile = BrazeProfile.objects.get()
    profile.recent = {name: then + 3_600 for name, then in profile.recent.items()}
    profile.save()
    one.first_name = "Grace"
    one.save()
    sync()
    assert counts() == {"delivered": 2}


def test_what_a_dead_worker_left_is_settled_though_the_database_s_clock_was_set_back(
    account: Account, change: Customer
) -> None:
    relay.relay(account.pk)
    request = Delivery.objects.get()
    assert buffer.claim(account.pk)
    assert ledger.start(request.pk)
    set_back()
    silent.settle()
    assert Delivery.objects.get().outcome == "", "its claim has not run out: somebody may be sending it"
    buffer.release(account.pk, request.pk)
    silent.settle()
    assert Delivery.objects.get().outcome == "unknown"


def test_what_is_being_sent_is_not_given_up_because_redis_fails_after_the_database_s_clock_was_set_back(
    account: Account, change: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.relay(account.pk)
    assert ledger.start(Delivery.objects.get().pk)
    set_back()
    monkeypatch.setattr(buffer, "claimed", mock.Mock(side_effect=redis.ConnectionError()))
    silent.settle()
    assert Delivery.objects.get().outcome == ""


def _sync_with_a_culprit(account: Account, sandbox: SandboxServer, sync: Sync) -> None:
    for external_id in ("good", "culprit"):
        Customer.objects.create(account=account, external_id=external_id)
    sandbox.faults.add(status=400, contains='"culprit"', times=20)
    settle_all(sync, 6)
    ends = OutboxEntry.objects.values_list("customer_external_id", "status")
    assert dict(ends) == {"good": "delivered", "culprit": "rejected"}

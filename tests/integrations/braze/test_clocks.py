"""Clocks of machines may be wrong by an hour; what counts is the database's."""

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, ledger, sender, settlement
from integrations.braze.delivery.verdicts import ObjectFate, Traffic, Verdict
from integrations.braze.models import BrazeSettings, Delivery, Outcome
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts
from tests.integrations.braze.test_attacks import settle_all

Sync = Callable[[], None]


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
        flush.settle_silent()
        return answer

    monkeypatch.setattr(sender, "send", send_while_the_clock_jumps)
    monkeypatch.setattr(flush, "ThreadPoolExecutor", SameThread)
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
    flush.settle_silent()
    assert Delivery.objects.get().outcome == ""
    redis_client.zincrby(f"braze:{{{account.pk}}}:flight", 3_600_000, str(request.pk))
    flush.settle_silent()
    assert Delivery.objects.get().outcome == "unknown"


def _sync_with_a_culprit(account: Account, sandbox: SandboxServer, sync: Sync) -> None:
    for external_id in ("good", "culprit"):
        Customer.objects.create(account=account, external_id=external_id)
    sandbox.faults.add(status=400, contains='"culprit"', times=20)
    settle_all(sync)
    ends = OutboxEntry.objects.values_list("customer_external_id", "status")
    assert dict(ends) == {"good": "delivered", "culprit": "rejected"}

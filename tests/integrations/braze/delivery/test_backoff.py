"""An account that fails waits longer each time, alone, and as long as Braze asks for."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, ledger, readiness, settlement, traffic, verdicts
from integrations.braze.models import BrazeSettings, BrazeState, Delivery, Outcome
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts, forget_backoff

Sync = Callable[[], None]


def test_it_waits_as_braze_tells_it_to(account: Account, change: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    sandbox.faults.add(status=429, times=1, retry_after=1)
    begun = time.monotonic()
    sync()
    assert counts() == {"pending": 4}
    assert readiness.of(account.pk).state == "backing off"
    assert BrazeState.objects.get().failures == 0
    while counts() != {"delivered": 4} and time.monotonic() - begun < 10:
        threading.Event().wait(0.02)
        sync()
    assert counts() == {"delivered": 4}
    assert time.monotonic() - begun >= 1


def test_it_backs_off_longer_with_each_failure_and_forgets_it_when_braze_is_back(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=503, times=3)
    for failures in (1, 2, 3):
        sync()
        assert BrazeState.objects.get().failures == failures
        forget_backoff()
    sync()
    state = BrazeState.objects.get()
    assert (state.failures, state.backoff_until) == (0, None)


def test_an_account_that_fails_is_tried_one_request_at_a_time_on_threads_set_apart(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(150))
    relay.relay(account.pk)
    sandbox.faults.add(status=503, times=2)
    assert flush.flush(account.pk, on_probation=False) == 2
    forget_backoff()
    assert flush.flush(account.pk, on_probation=False) == 0
    relay.relay(account.pk)
    assert buffer.claim(account.pk, most=1) is not None
    assert flush.flush(account.pk, on_probation=True) == 0  # one is in flight
    buffer.release(account.pk, Delivery.objects.filter(finished_at=None).order_by("created_at")[0].pk)
    assert flush.flush(account.pk, on_probation=True) == 1
    assert not readiness.of(account.pk).on_probation


def test_requests_that_fail_together_are_one_failure(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    """Of 32 in flight, each doubled the wait: a moment's trouble at Braze silenced a backlog for up to a minute."""
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(75 * buffer.IN_FLIGHT))
    relay.relay(account.pk)
    sandbox.faults.add(status=503, times=buffer.IN_FLIGHT)
    assert flush.flush(account.pk, on_probation=False) > 1
    state = BrazeState.objects.get()
    assert state.failures == 1
    assert state.backoff_until is not None
    assert state.backoff_until - database_now() < timedelta(seconds=1)


def test_backoff_is_jittered_and_capped() -> None:
    assert traffic.backoff_seconds(0, 0.0) == 0
    assert traffic.backoff_seconds(3, 0.5) == 2.0
    assert traffic.backoff_seconds(10_000, 0.999) <= traffic.BACKOFF_MOST_SECONDS


def test_chance_decides_how_long_it_backs_off(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full jitter: else all that failed at the same moment would be back at the same moment."""
    BrazeState.objects.update_or_create(account=account, defaults={"failures": 7})
    sandbox.faults.add(status=503)
    for chance in (0.25, 0.5):
        monkeypatch.setattr(traffic.random, "random", lambda chance=chance: chance)
        BrazeState.objects.update(failures=7, backoff_until=None)
        before = database_now()
        sync()
        state, after = BrazeState.objects.get(), database_now()
        assert state.backoff_until is not None
        wait = timedelta(seconds=chance * traffic.BACKOFF_MOST_SECONDS)
        assert before + wait <= state.backoff_until <= after + wait


def test_a_success_on_its_way_does_not_end_a_wait_that_braze_asked_for(account: Account, braze: BrazeSettings) -> None:
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    first, second = Delivery.objects.order_by("created_at")
    ledger.start(first.pk)
    ledger.start(second.pk)
    wait = verdicts.Verdict(Outcome.RETRY, verdicts.ObjectFate.RETRY, verdicts.Traffic.WAIT, "429", 600.0)
    settlement.settle(first.pk, wait, 429)
    success = verdicts.Verdict(Outcome.ACCEPTED, verdicts.ObjectFate.DELIVERED, verdicts.Traffic.GO_ON)
    settlement.settle(second.pk, success, 201)
    assert BrazeState.objects.get().backoff_until is not None


@pytest.mark.parametrize("later", [verdicts.Traffic.WAIT, verdicts.Traffic.BACK_OFF])
def test_an_answer_on_its_way_does_not_shorten_a_wait_that_braze_asked_for(
    account: Account, braze: BrazeSettings, later: verdicts.Traffic
) -> None:
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    answers = []
    for slower, seconds in ((verdicts.Traffic.WAIT, 600.0), (later, 1.0)):
        delivery = Delivery.objects.filter(started_at=None).order_by("created_at")[0]
        ledger.start(delivery.pk)
        verdict = verdicts.Verdict(Outcome.RETRY, verdicts.ObjectFate.RETRY, slower, "busy", seconds)
        answers.append(settlement.Answered(delivery.pk, verdict))
    before = database_now()
    settlement.settle_all(account.pk, answers)
    until = BrazeState.objects.get().backoff_until
    assert until is not None
    assert until >= before + timedelta(seconds=600)

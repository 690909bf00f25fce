"""A request that Braze does not answer holds up its own customers, and nobody else."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import redis
from django.db import connection

from dev.waiting import wait_until
from integrations.braze.composing import packing, relay
from integrations.braze.delivery import flush, lanes, sender
from integrations.braze.delivery.sender import Sending, Sent
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import nudge
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import flush_and_close


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("slice_seconds", [5.0, 0.1])
def test_a_request_without_an_answer_holds_up_no_other(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    slice_seconds: float,
) -> None:
    """Nor past the end of the slice, where the thread has to stay for that answer anyway."""
    monkeypatch.setattr(flush, "SLICE_SECONDS", slice_seconds)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.0)
    sandbox.faults.add(latency=5.0, times=1)
    Customer.objects.create(account=account, external_id="slow")
    relay.relay(account.pk)
    with ThreadPoolExecutor(1) as pool:
        begun, flushing = time.monotonic(), pool.submit(flush_and_close, account.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        wait_until(lambda: time.monotonic() > min(begun + slice_seconds, begun + 0.5), "the end of the short slice")
        overtake(account, flushing)


@pytest.mark.django_db(transaction=True)
def test_a_request_that_left_just_before_the_end_of_the_slice_holds_up_no_other(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the slice nothing is held up yet; the thread has to stay all the same."""
    monkeypatch.setattr(flush, "SLICE_SECONDS", 0.1)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.7)
    sandbox.faults.add(latency=6.0, times=1)
    Customer.objects.create(account=account, external_id="slow")
    relay.relay(account.pk)
    with ThreadPoolExecutor(1) as pool:
        begun, flushing = time.monotonic(), pool.submit(flush_and_close, account.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        wait_until(lambda: time.monotonic() > begun + 0.3, "the end of the slice")
        overtake(account, flushing)


@pytest.mark.django_db(transaction=True)
def test_a_redis_that_fails_once_while_an_answer_is_waited_for_holds_up_no_other(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "LOOK_UNASKED_SECONDS", 0.1)
    sandbox.faults.add(latency=6.0, times=1)
    Customer.objects.create(account=account, external_id="slow")
    relay.relay(account.pk)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush_and_close, account.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        failed: list[object] = []
        monkeypatch.setattr(flush.buffer, "is_empty", failing_once(failed, flush.buffer.is_empty))
        wait_until(lambda: failed, "the failure")
        overtake(account, flushing)


@pytest.mark.django_db(transaction=True)
def test_what_could_not_leave_in_time_is_relayed_again_at_once(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another request's answer lands with it, and finds nothing that waits."""
    for name in ("late", "in time"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    asked: list[set[int]] = []
    monkeypatch.setattr(nudge._nudger, "flag", asked.append)
    send, both = sender.send, threading.Barrier(2, timeout=30)
    late = Delivery.objects.earliest("created_at").pk

    def sent(sending: Sending) -> Sent:
        answer = None if sending.id == late else send(sending)
        both.wait()
        return answer

    monkeypatch.setattr(sender, "send", sent)
    flush.flush(account.pk)
    assert set(OutboxEntry.objects.values_list("customer_external_id", "status")) == {
        ("late", "pending"),
        ("in time", "delivered"),
    }
    assert set[int]().union(*asked) == {account.pk}


def overtake(account: Account, flushing: "Future[int]") -> None:
    """Another customer's request leaves and is answered, while the first one still waits for its answer."""
    Customer.objects.create(account=account, external_id="quick")
    relay.relay(account.pk)
    wait_until(OutboxEntry.objects.filter(customer_external_id="quick", status="delivered").exists, "the second")
    assert OutboxEntry.objects.get(customer_external_id="slow").status == "buffered"
    assert flushing.result() == 2


def failing_once(failed: list[object], ask: Callable[..., Any]) -> Callable[..., Any]:
    def attempt(*args: Any) -> Any:
        if not failed:
            failed.append(args)
            raise redis.ConnectionError("it was restarted")
        return ask(*args)

    return attempt


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_an_answer_looks_for_more_when_asked(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not kept busy by looking: an account that hangs would be felt by all others of the process."""
    monkeypatch.setattr(flush, "LOOK_UNASKED_SECONDS", 60.0)
    looks = []
    monkeypatch.setattr(flush.buffer, "claim_some", counting(looks, flush.buffer.claim_some))
    sandbox.faults.add(latency=3.0, times=1)
    Customer.objects.create(account=account, external_id="slow")
    relay.relay(account.pk)
    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(run_and_close, account.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        Customer.objects.create(account=account, external_id="quick")
        relay.relay(account.pk)
        lanes.run(account.pk, partial(flush.flushing, account.pk), lambda: None)  # it has a thread: returns at once
        wait_until(OutboxEntry.objects.filter(customer_external_id="quick", status="delivered").exists, "the second")
        assert OutboxEntry.objects.get(customer_external_id="slow").status == "buffered"
        flushing.result()
    assert len(looks) <= 6, "three for what happened, and as many for good measure: not one each 50 ms of three seconds"


def run_and_close(account_id: int) -> None:
    try:
        lanes.run(account_id, partial(flush.flushing, account_id), lambda: None)
    finally:
        connection.close()


def counting(looks: list[object], real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        looks.append(args)
        return real(*args)

    return counted


@pytest.mark.django_db(transaction=True)
def test_a_slice_ends_however_slow_braze_is(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent after its end because something is held up holds up nothing in turn: a backlog would never end."""
    monkeypatch.setattr(flush, "SLICE_SECONDS", 0.5)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.1)
    monkeypatch.setattr(flush, "LOOK_UNASKED_SECONDS", 0.1)
    monkeypatch.setattr(flush.buffer, "IN_FLIGHT", 3)
    monkeypatch.setattr(packing.Draft, "takes", lambda *_: False)  # a request for each customer
    sandbox.faults.add(latency=[0.2, 0.5])  # some request is always on its way
    for number in range(40):
        Customer.objects.create(account=account, external_id=f"c{number}")
    relay.relay(account.pk)
    flush.refill(account.pk)
    assert flush.flush(account.pk) < 40 == Delivery.objects.count()

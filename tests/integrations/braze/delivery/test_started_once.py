"""A request is started by one winner and settled once, whoever else has it in hand."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger, settlement, verdicts
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.connections import started, waiting
from tests.integrations.braze.fates import counts


def test_a_request_is_started_by_one_winner(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    pk = Delivery.objects.get().pk
    assert [ledger.start(pk) for _ in range(3)] == [True, False, False]


def test_a_request_that_was_taken_back_is_not_started(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    ledger.dissolve_unstarted(account.pk)
    assert not ledger.start(Delivery.objects.get().pk)


def test_a_request_that_was_settled_meanwhile_is_not_given_back(account: Account, change: Customer) -> None:
    """Its sender was frozen until after the deadline, and then found that it was too late."""
    relay.relay(account.pk)
    pk = Delivery.objects.get().pk
    ledger.start(pk)
    settlement.settle(pk, verdicts.silent())
    ledger.give_back([pk])
    assert Delivery.objects.get().outcome == "unknown"


def test_a_request_that_redis_repeats_is_sent_once(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any
) -> None:
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    redis_client.rpush(f"braze:{{{account.pk}}}:ready", str(delivery.pk), str(delivery.pk))
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 1


def test_a_request_is_settled_once(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    pk = Delivery.objects.get().pk
    assert not settlement.settle(pk, verdicts.silent())  # not started
    ledger.start(pk)
    assert settlement.settle(pk, verdicts.not_sent("first"))
    assert not settlement.settle(pk, verdicts.silent())
    assert Delivery.objects.get(pk=pk).answer == "first"


def test_a_sender_too_slow_to_send_gives_the_request_back(
    account: Account, change: Customer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.relay(account.pk)
    monkeypatch.setattr(ledger, "SEND_WITHIN", timedelta(seconds=-1))
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert Delivery.objects.get().outcome == "dissolved"
    assert counts() == {"pending": 4}


@pytest.mark.django_db(transaction=True)
def test_two_flushes_share_the_work_and_double_nothing(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    customers = Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(600))
    Event.objects.bulk_create(Event(account=account, customer=one, type="LOGIN") for one in customers)
    relay.relay(account.pk)

    def work() -> None:
        flush.flush(account.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.summary()["events"] == 600
    assert sandbox.summary()["duplicates"]["event_id"] == 0
    assert counts() == {"delivered": 1200}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_giving_back_waits_for_a_commit_that_the_server_has_yet_to_carry_out(
    account: Account, braze: BrazeSettings
) -> None:
    """The connection broke, but its COMMIT was on its way: a look that did not wait would find nothing to give back."""
    Customer.objects.create(account=account, external_id="c1")
    relay.relay(account.pk)
    (pk,), mark = Delivery.objects.values_list("pk", flat=True), ledger.new_mark()
    with transaction.atomic():
        assert ledger.start_all([pk], mark) == {pk}
        giving_back = started(lambda: ledger.give_back([pk], mark))
        wait_until(lambda: waiting() == 1, "the lock to be waited for")
    giving_back.join()
    assert Delivery.objects.get().outcome == "dissolved"

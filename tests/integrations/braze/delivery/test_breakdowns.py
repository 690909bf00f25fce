"""A failure on the way to Braze costs no other request its answer, and what has not left is not in doubt."""

import threading
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
import redis
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, client, commits, flush, insisting, ledger, sender, settlement
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync, counts, forget_backoff


def composed(account: Account, number: int) -> list[UUID]:
    """This many ready requests, each of another customer."""
    for each in range(number):
        Customer.objects.create(account=account, external_id=f"c{each}")
        relay.relay(account.pk)
    return ledger.next_to_send(account.pk)


# --- in a sender -----------------------------------------------------------------------------------------


def test_a_request_that_breaks_down_takes_no_other_one_s_answer_with_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are looked at together."""
    monkeypatch.setattr(flush, "TOGETHER_SECONDS", 5)
    spoilt, *others = composed(account, 12)
    redis_client.hset(f"braze:{{{account.pk}}}:bodies", str(spoilt), "no zlib")
    assert flush.flush(account.pk) == 12
    assert sandbox.summary()["requests"]["track"] == 11
    assert set(Delivery.objects.filter(pk__in=others).values_list("outcome", flat=True)) == {"accepted"}


def test_an_account_whose_requests_break_down_backs_off(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unknown is sent again: without a pause, as fast as the limit allows, and for as long as it goes on."""
    post, errors = client.post, iter([LookupError(), RuntimeError()])

    def broken(*arguments: Any) -> client.Answer:
        if error := next(errors, None):
            raise error
        return post(*arguments)

    monkeypatch.setattr(client, "post", broken)
    sync()
    state = BrazeState.objects.get()
    assert (state.failures, state.last_error) == (1, "The request broke down: LookupError")
    assert Delivery.objects.get().outcome == "unknown"
    forget_backoff()
    sync()
    forget_backoff()
    sync()
    assert sandbox.summary()["events"] == 1


def test_a_body_that_cannot_be_unpacked_never_left_and_is_made_anew(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any, sync: Sync
) -> None:
    relay.relay(account.pk)
    redis_client.hset(f"braze:{{{account.pk}}}:bodies", str(Delivery.objects.get().pk), "no zlib")
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert (Delivery.objects.get().outcome, counts()) == ("dissolved", {"pending": 4})
    sync()
    assert counts() == {"delivered": 4}


# --- at the start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "step", "error"),
    [(ledger, "start_all", OperationalError("terminating connection")), (commits, "tell_redis", redis.TimeoutError())],
)
def test_a_start_that_fails_holds_no_place_in_flight(
    account: Account,
    braze: BrazeSettings,
    redis_client: Any,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    step: str,
    error: Exception,
) -> None:
    """Claims are prolonged before the start; with all places held, an account would stand still for 50 s."""
    ids = composed(account, 3)
    with monkeypatch.context() as patch:
        patch.setattr(module, step, mock.Mock(side_effect=error))
        with pytest.raises(type(error)):
            flush.flush(account.pk)
    assert not redis_client.exists(f"braze:{{{account.pk}}}:flight")
    assert buffer.missing(account.pk, ids) == ids, "the next tick pushes what is still to be sent"
    sync()
    assert counts() == {"delivered": 3}


def refusing_threads(patch: pytest.MonkeyPatch, account: Account, after: int) -> None:
    """As where a container may have no more threads."""
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith(f"braze-{account.pk}"):
            started.append(thread)
            if len(started) > after:
                raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", limited)


def test_what_was_started_and_has_no_thread_to_send_it_is_given_back(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed(account, 3)
    with monkeypatch.context() as patch:
        refusing_threads(patch, account, after=0)
        with pytest.raises(RuntimeError):
            flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert counts() == {"pending": 3}
    sync()
    assert counts() == {"delivered": 3}


def test_what_was_given_back_for_want_of_a_thread_is_not_sent_by_another_one(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is queued for the first sender, which is free before the flush ends."""
    composed(account, 3)
    give_back, deliver, given_back = ledger.give_back, sender.deliver, threading.Event()

    def deliver_late(*arguments: Any) -> Any:
        assert given_back.wait(30)
        return deliver(*arguments)

    def note(*given: Any) -> None:
        give_back(*given)
        given_back.set()

    monkeypatch.setattr(sender, "deliver", deliver_late)
    monkeypatch.setattr(ledger, "give_back", note)
    refusing_threads(monkeypatch, account, after=1)
    with pytest.raises(RuntimeError):
        flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 1
    assert counts() == {"delivered": 1, "pending": 2}


def test_what_a_free_sender_has_taken_after_all_stays_in_flight(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread could be started, but the one there was took it from the queue before it could be taken back."""
    composed(account, 2)
    submit = flush.ThreadPoolExecutor.submit

    def submit_and_fail(self: Any, work: Any, answer: Any, sending: Any) -> None:
        submit(self, work, answer, sending)
        wait_until(lambda: answer.running() or answer.done(), "the sender")
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(flush.ThreadPoolExecutor, "submit", submit_and_fail)
    assert flush.flush(account.pk) == 2
    assert sandbox.summary()["requests"]["track"] == 2
    assert counts() == {"delivered": 2}


# --- on its way ------------------------------------------------------------------------------------------


def test_a_request_that_could_be_answered_only_after_its_deadline_does_not_leave(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be called unknown, and sent again, while it is still on its way."""
    composed(account, 1)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "LEAVE_WITHIN", timedelta(seconds=-1))
        flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert (Delivery.objects.get().outcome, counts()) == ("retry", {"pending": 1})
    forget_backoff()
    sync()
    assert counts() == {"delivered": 1}


# --- afterwards ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_is_too_late_is_given_back_whole_though_the_database_fails_once(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stalled at the start, so that it is too late for all of them."""
    monkeypatch.setattr(ledger, "SEND_WITHIN", timedelta(seconds=-1))
    monkeypatch.setattr(insisting, "RETRY_SECONDS", 0)
    composed(account, 3)
    give_back = ledger.give_back
    failing_once = mock.Mock(side_effect=[OperationalError("the connection is closed"), *[mock.DEFAULT] * 3])
    monkeypatch.setattr(ledger, "give_back", lambda *given: (failing_once(), give_back(*given)))
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert counts() == {"pending": 3}


def test_what_is_too_late_is_given_back_though_an_answer_cannot_be_settled(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, *_ = composed(account, 2)
    monkeypatch.setattr(flush, "TOGETHER_SECONDS", 5)
    monkeypatch.setattr(settlement, "settle_all", mock.Mock(side_effect=ValueError("it cannot be settled")))
    send = sender.send
    monkeypatch.setattr(sender, "send", lambda sending: None if sending.id == late else send(sending))
    with pytest.raises(ValueError, match="it cannot be settled"):
        flush.flush(account.pk)
    assert Delivery.objects.get(pk=late).outcome == "dissolved"


# --- at the start ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_start_that_was_committed_though_the_connection_broke_is_given_back(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knew that it had been won, so it became unknown at its deadline, and purchases were held."""
    started, others = composed(account, 2), []
    commit, start_all = BaseDatabaseWrapper.commit, ledger.start_all

    def break_after_commit(self: BaseDatabaseWrapper) -> None:
        commit(self)
        monkeypatch.setattr(BaseDatabaseWrapper, "commit", commit)
        raise OperationalError("server closed the connection unexpectedly")

    def start_then_break(*arguments: Any) -> set[UUID]:
        """One of them was won by somebody else, whose answer is still to come."""
        others.append(started.pop())
        start_all(others)
        monkeypatch.setattr(BaseDatabaseWrapper, "commit", break_after_commit)
        return start_all(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "start_all", start_then_break)
        with pytest.raises(OperationalError):
            flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert dict(Delivery.objects.values_list("pk", "outcome")) == {started[0]: "dissolved", others[0]: ""}
    assert counts() == {"pending": 1, "buffered": 1}

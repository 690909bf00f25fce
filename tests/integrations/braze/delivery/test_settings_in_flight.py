"""Settings that are saved while requests of the old ones are composed, sent and answered."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, models, transaction

from integrations.braze.composing import committing, relay, rounds
from integrations.braze.delivery import buffer, flush, ledger, settlement, traffic, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState, Delivery, Outcome
from integrations.braze.recovery import backfill
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.connections import beside
from tests.integrations.braze.fates import Sync, counts, settle_all


def test_what_an_earlier_workspace_took_in_flight_is_not_held_by_the_new_one(
    account: Account, braze: BrazeSettings, sync: Sync, sandbox: SandboxServer, settings: Any
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)  # it has left for the old workspace
    with SandboxServer() as other:
        settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url, other.url]
        braze.rest_endpoint, braze.api_key = other.url, "another-key"
        braze.save()
        accepted = verdicts.Verdict(Outcome.ACCEPTED, verdicts.ObjectFate.DELIVERED, verdicts.Traffic.GO_ON)
        settlement.settle(on_its_way.pk, accepted, 201)  # the old workspace's answer
        list(backfill.backfill(account.pk))  # "send everything the account has", as the page offers
        settle_all(sync)
        assert other.profile("c1") is not None
        assert other.profile("c1")["standard_attributes"] == {"first_name": "Ada"}


def test_a_request_is_sent_under_the_settings_it_was_composed_under(
    account: Account,
    braze: BrazeSettings,
    sync: Sync,
    sandbox: SandboxServer,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    claim_some = buffer.claim_some
    with SandboxServer() as other:
        settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url, other.url]

        def save_and_claim(*arguments: Any) -> Any:
            monkeypatch.setattr(buffer, "claim_some", claim_some)
            braze.rest_endpoint, braze.api_key = other.url, "another-key"
            braze.save()
            relay.relay(account.pk)
            return claim_some(*arguments)

        monkeypatch.setattr(buffer, "claim_some", save_and_claim)
        flush.flush(account.pk)
        settle_all(sync)
        assert sandbox.profile("c1") is None
        assert other.profile("c1") is not None


def test_a_refusal_of_the_old_key_does_not_pause_the_new_one(
    account: Account, braze: BrazeSettings, sync: Sync, sandbox: SandboxServer
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    braze.api_key = "the-new-key-of-the-account"
    braze.save()
    verdict = verdicts.of_answer(Answer(401, b'{"message":"Invalid API key"}'), "old-key")
    settlement.settle(on_its_way.pk, verdict, 401)
    settle_all(sync)
    assert BrazeState.objects.get().paused_at is None
    assert sandbox.profile("c1") is not None


def test_what_fails_of_older_settings_makes_the_account_back_off_all_the_same(
    account: Account, braze: BrazeSettings
) -> None:
    Customer.objects.create(account=account, external_id="c1")
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    braze.save()
    settlement.settle(on_its_way.pk, verdicts.of_answer(Answer(503, b"{}"), "key"), 503)
    assert BrazeState.objects.get().failures == 1


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_settings_saved_while_a_refusal_is_settled_are_not_paused(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    steer, threads = traffic.after_refusal, []

    def save() -> None:
        mine = BrazeSettings.objects.get(pk=braze.pk)
        mine.api_key = "the-new-key-of-the-account"
        mine.save()

    def save_and_steer(*arguments: Any) -> Any:
        threads.append(beside(save))
        return steer(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(traffic, "after_refusal", save_and_steer)
        refused = verdicts.of_answer(Answer(401, b'{"message":"Invalid API key"}'), "old-key")
        settlement.settle(on_its_way.pk, refused, 401)
    threads[0].join()
    assert BrazeState.objects.get().paused_at is None


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_settings_can_be_saved_while_a_relay_commits(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.relay(account.pk)  # there is a lease
    Customer.objects.create(account=account, external_id="c1")
    at_commit, errors, move = threading.Event(), [], committing._move_entries

    def slowly(*args: Any) -> int:
        at_commit.set()
        threading.Event().wait(0.5)  # a commit of thousands of entries takes as long
        return move(*args)

    monkeypatch.setattr(committing, "_move_entries", slowly)

    def work() -> None:
        try:
            relay.relay(account.pk)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert at_commit.wait(5)
    try:
        BrazeSettings.objects.get().save()
    finally:
        thread.join(10)
    assert errors == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("relayed_before", [True, False])
def test_nothing_composed_under_old_settings_is_committed_by_an_account_s_first_relay(
    sandbox: SandboxServer, settings: Any, redis_client: Any, monkeypatch: pytest.MonkeyPatch, relayed_before: bool
) -> None:
    """Before it, there is no lease that could be taken away."""
    settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url]
    account = Account.objects.create(name="Shop", slug="shop")
    BrazeSettings.objects.create(
        account=account, is_enabled=True, api_key="k", rest_endpoint=sandbox.url, **dict.fromkeys(TOPICS, True)
    )
    if relayed_before:
        relay.relay(account.pk)
    one = Customer.objects.create(account=account, external_id="c1")
    Event.objects.create(account=account, customer=one, type="LOGIN")

    def work() -> None:
        try:
            relay.relay(account.pk)
        finally:
            connection.close()

    read, was_read = rounds.read, threading.Event()

    def reading(*args: Any) -> Any:
        found = read(*args)
        was_read.set()
        return found

    monkeypatch.setattr(relay.rounds, "read", reading)
    thread = threading.Thread(target=work)
    with transaction.atomic():
        BrazeSettings.objects.update(sync_events=False)
        thread.start()
        was_read.wait(3)
    thread.join(10)
    assert sum(Delivery.objects.filter(finished_at=None).values_list("events", flat=True)) == 0


def test_a_refusal_of_the_old_key_says_nothing_of_the_new_one(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    braze.api_key = "the-new-key-of-the-account"
    braze.save()
    until = database_now() + timedelta(seconds=40)
    BrazeState.objects.update(failures=6, backoff_until=until)
    verdict = verdicts.of_answer(Answer(401, b'{"message":"Invalid API key"}'), "old-key")
    settlement.settle(on_its_way.pk, verdict, 401)
    state = BrazeState.objects.get()
    assert (state.failures, state.backoff_until, state.paused_at) == (6, until, None)


def test_a_wrong_key_pauses_also_where_the_clock_was_set_back(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The settings are then younger than any request."""
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    models.QuerySet(BrazeSettings).update(updated_at=database_now() + timedelta(minutes=5))
    sandbox.faults.add(status=401)
    for _ in range(3):
        relay.relay(account.pk)
        flush.flush(account.pk)
    assert BrazeState.objects.get().paused_at


def test_what_is_in_flight_while_its_settings_are_deleted_ends_by_the_default_policies(
    account: Account, change: Customer
) -> None:
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    BrazeSettings.objects.get().delete()
    assert settlement.settle(on_its_way.pk, verdicts.no_answer("The connection broke."))
    assert counts() == {"pending": 2, "unknown": 2}, "events are sent again, purchases are held"


@pytest.mark.parametrize("end", ["split", "give back"])
def test_a_toggle_switched_off_meanwhile_counts_for_a_request_that_comes_back(
    account: Account, braze: BrazeSettings, one: Customer, sandbox: SandboxServer, sync: Sync, end: str
) -> None:
    for customer in (one, Customer.objects.create(account=account, external_id="c2")):
        Event.objects.create(account=account, customer=customer, type="LOGIN")
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    assert ledger.start(delivery.pk)
    BrazeSettings.objects.update(sync_events=False)
    if end == "split":
        refused = verdicts.Verdict(Outcome.REFUSED, verdicts.ObjectFate.RETRY, verdicts.Traffic.SPLIT)
        settlement.settle(delivery.pk, refused, 400)
    else:
        ledger.give_back([delivery.pk])
    settle_all(sync)
    assert sandbox.summary()["events"] == 0
    assert sandbox.summary()["profiles"] == 2

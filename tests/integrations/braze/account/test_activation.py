"""A changed setting is in force with its own commit: subscriptions, state and requests not yet started."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import flush
from integrations.braze.integration import NAME, TOPICS
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery, Fate, Outcome
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import lease, nudge
from integrations.outbox.clock import database_now
from integrations.outbox.lease import LeaseLost
from integrations.outbox.models import OutboxEntry, Status, Subscription, Topic
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine


def topics() -> set[str]:
    return set(Subscription.objects.filter(integration=NAME).values_list("topic", flat=True))


@pytest.mark.parametrize("toggle", TOPICS)
def test_it_subscribes_to_what_a_toggle_asks_for_when_saved(account: Account, toggle: str) -> None:
    saved = BrazeSettings.objects.create(account=account, is_enabled=True)
    assert topics() == set()
    setattr(saved, toggle, True)
    saved.save()
    assert topics() == {TOPICS[toggle]}
    setattr(saved, toggle, False)
    saved.save()
    assert topics() == set()


def test_it_counts_from_the_statement_that_changes_it(account: Account, braze: BrazeSettings) -> None:
    customer = Customer.objects.create(account=account, external_id="Ada")
    BrazeSettings.objects.filter(account=account).update(sync_events=False)
    Event.objects.create(account=account, customer=customer, type="VISIT")
    assert not OutboxEntry.objects.filter(kind="event").exists()
    BrazeSettings.objects.filter(account=account).update(sync_events=True)
    Event.objects.create(account=account, customer=customer, type="VISIT")
    assert OutboxEntry.objects.filter(kind="event").count() == 1


def test_it_wants_nothing_of_an_account_that_is_switched_off(account: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(is_enabled=False)
    assert topics() == set()
    Customer.objects.create(account=account, external_id="Ada")
    assert not OutboxEntry.objects.exists()


def test_it_captures_what_waits_for_a_key(account: Account) -> None:
    BrazeSettings.objects.create(account=account, is_enabled=True, create_customers=True)
    Customer.objects.create(account=account, external_id="Ada")
    assert OutboxEntry.objects.get().status == Status.PENDING


def test_it_touches_no_other_account(account: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Other", slug="other")
    theirs = BrazeSettings.objects.create(account=other, is_enabled=True, sync_events=True)
    BrazeSettings.objects.filter(account=account).update(is_enabled=False)
    assert set(Subscription.objects.values_list("account_id", "topic")) == {(other.pk, Topic.EVENTS)}
    theirs.delete()
    assert not Subscription.objects.exists()


def test_it_is_undone_with_the_transaction(account: Account, braze: BrazeSettings) -> None:
    before = topics()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        BrazeSettings.objects.update(is_enabled=False)
        raise ZeroDivisionError
    assert topics() == before != set()


def test_it_resumes_a_paused_account_and_sends_what_waited(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Callable[[], None]
) -> None:
    BrazeState.objects.update(
        paused_at=database_now(), pause_reason="Invalid API key", backoff_until=database_now(), failures=3
    )
    Customer.objects.create(account=account, external_id="Ada")
    sync()
    assert sandbox.requests() == []
    braze.save()
    state = BrazeState.objects.get()
    assert (state.paused_at, state.pause_reason, state.backoff_until, state.failures) == (None, "", None, 0)
    sync()
    assert OutboxEntry.objects.get().status == Status.DELIVERED


def test_what_waited_is_relayed_as_soon_as_the_settings_are_committed(
    braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    published: list[int] = []
    monkeypatch.setattr(nudge, "publish", published.append)
    with django_capture_on_commit_callbacks(execute=True):
        braze.save()
        assert published == []
    wait_until(lambda: published == [braze.account_id], "the relay to be nudged", every=0.005)


def test_it_takes_back_requests_that_nobody_has_started(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    customer = Customer.objects.create(account=account, external_id="Ada")
    Event.objects.create(account=account, customer=customer, type="VISIT")
    order = Order.objects.create(account=account, customer=customer, order_id="A-1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", value=12)
    relay.relay(account.pk)
    BrazeSettings.objects.update(sync_events=False)
    dissolved = Delivery.objects.get()
    assert (dissolved.outcome, dissolved.started_at, bytes(dissolved.body)) == (Outcome.DISSOLVED, None, b"")
    assert set(OutboxEntry.objects.values_list("status", "batch")) == {(Status.PENDING, None)}
    assert list(BrazePurchase.objects.values_list("fate", "delivery_id")) == [(Fate.PENDING, None)]
    relay.relay(account.pk)
    flush.flush(account.pk)
    held = sandbox.summary()
    assert (held["events"], held["purchases"], held["revenue"]) == (0, 1, {"USD": "12.00"})


def test_it_leaves_alone_a_request_that_was_started(account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    relay.relay(account.pk)
    Delivery.objects.update(started_at=database_now())
    braze.save()
    assert OutboxEntry.objects.get().status == Status.BUFFERED
    assert Delivery.objects.get().finished_at is None


def test_it_keeps_a_relay_at_work_from_committing_under_the_old_settings(
    account: Account, braze: BrazeSettings
) -> None:
    with lease.hold(account.pk, NAME, relay.LEASE) as held:
        assert held is not None
        braze.save()
        with pytest.raises(LeaseLost):
            held.confirm()


def test_it_stops_capturing_when_the_settings_are_deleted(account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    relay.relay(account.pk)
    braze.delete()
    assert topics() == set()
    assert OutboxEntry.objects.get().status == Status.PENDING


def test_it_lets_an_account_go_with_its_settings(account: Account, braze: BrazeSettings) -> None:
    account.delete()
    assert not BrazeState.objects.exists()

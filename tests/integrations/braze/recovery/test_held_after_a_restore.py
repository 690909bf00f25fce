"""What a restored database holds as unknown: its orders are neither sent nor reversed twice, whatever comes after."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone as django_timezone

from integrations.braze.composing import relay
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Notice
from integrations.braze.recovery import backfill, resolution, restored
from integrations.braze.reporting import accounting, notices
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, open_again, reverse
from tests.integrations.braze.recovery.test_restored import lost_afterwards


def restore(account: Account, sync: Sync) -> None:
    with lost_afterwards():
        sync()
    sync()
    restored.resume(account.pk, database_now() - timedelta(hours=1))
    sync()


def test_a_sale_held_after_a_restore_is_not_sent_by_an_edit_of_its_order(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    restore(account, sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    order.channel = "web"
    order.save()
    settle_all(sync)
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_a_sale_held_after_a_restore_and_treated_as_delivered_is_not_sent_by_an_edit_of_its_order(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    restore(account, sync)
    order.channel = "web"
    order.save()  # captured, not relayed yet
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_a_reversal_waits_for_a_sale_held_after_a_restore(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    restore(account, sync)
    reverse(order)
    settle_all(sync)
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_a_reversal_held_after_a_restore_and_treated_as_delivered_is_not_repeated(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    reverse(order)
    restore(account, sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    order.channel = "web"
    order.save()
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_a_sale_held_after_a_restore_and_discarded_stays_discarded(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    restore(account, sync)
    resolution.discard(OutboxEntry.objects.filter(status="unknown"), by="ada", reason="no")
    order.channel = "web"
    order.save()
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_everything_sent_again_after_a_restore_leaves_alone_what_is_held(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """“Send everything the account has” says that nothing is counted twice."""
    one = Customer.objects.create(account=account, external_id="c1")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    fulfilled(account, one, ("CD", 10))
    restore(account, sync)
    list(backfill.backfill(account.pk))
    settle_all(sync)
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}


@pytest.fixture
def closed(account: Account, one: Customer, sync: Sync) -> Order:
    """An order of which sale and reversal were sent, and are held since a restore."""
    order = fulfilled(account, one, ("CD", 10))
    reverse(order)
    with lost_afterwards():
        settle_all(sync)
    sync()
    restored.resume(account.pk, database_now() - timedelta(hours=1))
    return order


def test_a_sale_and_its_reversal_held_after_a_restore_are_not_reversed_by_an_edit(
    closed: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    closed.channel = "web"
    closed.save()
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_a_purchase_that_never_left_is_not_in_doubt_for_ever_after_a_restore(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    relay.relay(account.pk)
    BrazeSettings.objects.update(sync_purchases=False)
    sync()
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"pending"}
    assert accounting.check(account.pk) == []
    with lost_afterwards():
        Event.objects.create(account=account, customer=order.customer, type="LOGIN")
        sync()
    sync()
    restored.resume(account.pk, database_now() - timedelta(hours=1))
    BrazeSettings.objects.update(sync_purchases=True)
    reverse(order)
    settle_all(sync)
    for decide in (
        lambda all_: resolution.treat_as_delivered(all_, by="ada"),
        resolution.send_again,
        lambda all_: resolution.discard(all_, by="ada", reason="no"),
    ):
        decide(OutboxEntry.objects.all())
        settle_all(sync)
    assert accounting.check(account.pk) == []
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_a_pause_after_a_restored_backup_begins_once(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    Event.objects.create(account=account, customer=one, type="LOGIN")
    with lost_afterwards():
        sync()
    relay.relay(account.pk)
    noticed = BrazeState.objects.get().paused_at
    notices.find_causes()
    Event.objects.create(account=account, customer=one, type="LATER")
    relay.relay(account.pk)  # as after each sweep
    notices.find_causes()
    assert (Notice.objects.count(), BrazeState.objects.get().paused_at) == (1, noticed)


def test_what_was_captured_in_the_pause_is_in_no_doubt(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    Event.objects.create(account=account, customer=one, type="LOGIN")
    with lost_afterwards():
        sync()
    relay.relay(account.pk)
    later = Event.objects.create(account=account, customer=one, type="LATER")
    relay.relay(account.pk)  # as after each sweep
    restored.resume(account.pk, BrazeState.objects.get().paused_at)
    assert OutboxEntry.objects.get(subject=str(later.pk)).status == "pending"


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_shop_whose_clock_is_ahead_sends_nothing_twice_after_a_restored_backup(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, ahead: int
) -> None:
    with time_machine.travel(django_timezone.now() + timedelta(hours=ahead)):
        one = Customer.objects.create(account=account, external_id="c1")
        Event.objects.create(account=account, customer=one, type="LOGIN")
        order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
        OrderLine.objects.create(order=order, sku="CD", quantity=1, value=10)
    with lost_afterwards():
        sync()
    sync()
    restored.resume(account.pk, BrazeState.objects.get().paused_at)
    settle_all(sync)
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}


def test_a_decision_about_a_sale_and_its_reversal_stands(closed: Order, sync: Sync) -> None:
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    told = OutboxEntry.objects.filter(data__order_id="o1").values_list("status", "error").distinct()
    assert list(told) == [("delivered", "treated as delivered by ada")]


@pytest.mark.parametrize("again", ["saved", "updated"])
def test_a_sale_that_reversed_itself_is_not_reversed_twice_though_its_order_was_open_when_it_went_on(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, again: str
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    braze.sync_purchases = False
    braze.save()
    reverse(order)  # which nobody is told of
    braze.sync_purchases = True
    braze.save()
    with lost_afterwards():
        settle_all(sync)
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    if again == "saved":
        open_again(order)
    else:
        Order.objects.update(status="FULFILLED")
    restored.resume(account.pk, database_now() - timedelta(hours=1))
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    reverse(order)
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert accounting.check(account.pk) == []


def test_a_decision_about_a_sale_held_after_a_restore_says_nothing_of_its_reversal(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The reversal had waited for the sale's outcome before, and never left: it stays for a decision of its own."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    reverse(order)
    settle_all(sync)
    Event.objects.create(account=account, customer=order.customer, type="LOGIN")
    restore(account, sync)
    sale = OutboxEntry.objects.filter(kind="order", data__status="FULFILLED")
    resolution.treat_as_delivered(sale, by="ada")
    settle_all(sync)
    reversal = OutboxEntry.objects.filter(data__status="REVERSED")
    assert (sale.get().status, reversal.get().status) == ("delivered", "unknown")
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    resolution.send_again(reversal)
    settle_all(sync)
    assert reversal.get().status == "delivered"
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(account.pk) == []

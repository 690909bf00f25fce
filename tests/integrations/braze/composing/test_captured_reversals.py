"""A reversal that was captured is sent, whatever becomes of its order until the relay looks, and after."""

from typing import Any

import pytest

from integrations.braze.erasure import scrubbing
from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, open_again, reverse


@pytest.fixture
def order(account: Account, one: Customer, sync: Sync) -> Order:
    made = fulfilled(account, one, ("CD", 10))
    settle_all(sync)
    return made


def revenue(sandbox: SandboxServer) -> str:
    return str(sandbox.summary()["revenue"].get("USD", "0.00"))


@pytest.mark.parametrize("by_way_of", ["", "PENDING"])
def test_a_sold_order_whose_time_of_fulfilment_was_cleared_is_reversed(
    order: Order, sandbox: SandboxServer, sync: Sync, by_way_of: str
) -> None:
    order.fulfilled_at = None
    if by_way_of:
        order.status = by_way_of
        order.save()
    order.status = "CANCELLED"
    order.save()
    settle_all(sync)
    assert revenue(sandbox) == "0.00"


def test_an_order_that_was_never_fulfilled_has_nothing_to_reverse(account: Account, one: Customer, sync: Sync) -> None:
    Order.objects.create(account=account, customer=one, order_id="o2", status="CANCELLED")
    settle_all(sync)
    assert OutboxEntry.objects.get(kind="order").error == "the order was never fulfilled"
    assert not BrazePurchase.objects.exists()


@pytest.mark.parametrize("then", ["EXPIRED", "PENDING"])
def test_a_reversal_is_sent_though_its_order_has_gone_on_by_then(
    order: Order, sandbox: SandboxServer, sync: Sync, then: str
) -> None:
    reverse(order)
    order.status = then
    order.save()
    settle_all(sync)
    assert revenue(sandbox) == "0.00"


def test_a_reversal_is_not_sent_where_its_order_is_fulfilled_again_by_then(
    order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    reverse(order)
    open_again(order)
    settle_all(sync)
    assert revenue(sandbox) == "10.00"


def test_a_sale_and_its_reversal_are_both_sent_though_their_order_has_gone_on_by_then(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    reverse(order)
    order.status = "PENDING"
    order.save()
    settle_all(sync)
    assert [each["object"]["price"] for each in sandbox.journal() if each["kind"] == "purchase"] == [10, -10]


def test_a_reversal_does_not_wait_for_another_customer_s_purchase(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    """Of an order that had this number before: its doubt cannot be ended any more, as that customer was deleted."""
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="before", times=1)
    settle_all(sync)
    one.delete()
    settle_all(sync)
    two = Customer.objects.create(account=account, external_id="c2")
    order = fulfilled(account, two, ("CD", 10), ("DVD", 5))
    settle_all(sync)
    assert revenue(sandbox) == "5.00"
    reverse(order)
    settle_all(sync)
    assert revenue(sandbox) == "0.00"


def test_a_reversal_is_sent_though_its_order_is_deleted_by_then(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    reverse(order)
    order.delete()
    settle_all(sync)
    assert revenue(sandbox) == "0.00"
    assert accounting.check(account.pk) == []


def test_a_reversal_is_sent_though_its_customer_is_deleted_by_then_where_no_deletions_are_sent(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    settings = BrazeSettings.objects.get()
    settings.delete_customers = False
    settings.save()
    reverse(order)
    order.customer.delete()
    scrubbing.work_off()
    settle_all(sync)
    assert revenue(sandbox) == "0.00"


def test_a_reversal_of_a_deleted_order_waits_for_its_sale_in_doubt(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    reverse(order)
    order.delete()
    settle_all(sync)
    assert OutboxEntry.objects.get(data__status="REVERSED").parked
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert revenue(sandbox) == "0.00"
    assert accounting.check(account.pk) == []


@pytest.mark.parametrize(("status", "left"), [("FULFILLED", "10.00"), ("CANCELLED", "0.00")])
def test_an_order_that_was_made_again_under_its_number_tells_whether_it_is_reversed(
    account: Account, one: Customer, order: Order, sandbox: SandboxServer, sync: Sync, status: str, left: str
) -> None:
    reverse(order)
    order.delete()
    again = fulfilled(account, one, ("CD", 10))
    again.status = status
    again.save()
    settle_all(sync)
    assert revenue(sandbox) == left
    assert accounting.check(account.pk) == []
    assert not OutboxEntry.objects.filter(status__in=["pending", "rejected"]).exists()


def test_a_deleted_order_s_reversal_leaves_alone_what_another_customer_has_under_its_number(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Neither order's purchases have left."""
    sandbox.faults.add(status=503, times=1)
    order = fulfilled(account, one, ("CD", 10))
    sync()
    reverse(order)
    order.delete()
    fulfilled(account, Customer.objects.create(account=account, external_id="c2"), ("DVD", 5))
    settle_all(sync)
    assert revenue(sandbox) == "5.00"
    assert accounting.check(account.pk) == []
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_an_order_that_is_deleted_before_it_is_sold_has_nothing_to_reverse(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    reverse(order)
    order.delete()
    settle_all(sync)
    assert revenue(sandbox) == "0.00"
    of_order = OutboxEntry.objects.filter(kind__startswith="order")
    assert set(of_order.values_list("error", flat=True)) == {"the order is no longer there"}


def test_the_sale_of_a_deleted_order_says_so_beside_its_reversal(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=503, times=1)
    order = fulfilled(account, one, ("CD", 10))
    sync()
    reverse(order)
    order.delete()
    settle_all(sync)
    sale = OutboxEntry.objects.filter(kind__startswith="order", data__status="FULFILLED")
    assert set(sale.values_list("error", flat=True)) == {"the order is no longer there"}


def test_a_sale_whose_reversal_was_not_captured_reverses_itself_whatever_else_waits_of_its_customer(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Another integration's reversal, and a change of something that is no order but has the order's number."""
    order = fulfilled(account, one, ("CD", 10))
    reverse(order)
    OutboxEntry.objects.filter(data__status="REVERSED").update(integration="other")
    OutboxEntry.objects.create(
        account=account, integration="braze", kind="audience_joined", customer_external_id=one.external_id,
        subject=str(order.pk), data={"audience_id": "a", "name": "Club"},
    )  # fmt: skip
    settle_all(sync)
    assert sandbox.summary()["purchases"] == 2
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}

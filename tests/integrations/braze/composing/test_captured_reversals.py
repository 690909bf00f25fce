"""A reversal that was captured is sent, whatever becomes of its order until the relay looks, and after."""

from typing import Any

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order
from tests.integrations.braze.doubts import Sync, fulfilled, open_again, reverse, settle_all


@pytest.fixture
def one(account: Account, braze: BrazeSettings) -> Customer:
    return Customer.objects.create(account=account, external_id="c1")


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

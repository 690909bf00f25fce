"""What Braze gets of an order: its lines once each, whole, and their reversal."""

from decimal import Decimal

import pytest

from integrations.braze.composing import taking
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery, Fate
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import Sync, ends
from tests.integrations.braze.orders import fulfilled, two_discs


def test_a_line_added_after_another_was_deleted_is_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("A", 10), ("B", 5))
    sync()
    order.lines.get(sku="B").delete()
    OrderLine.objects.create(order=order, sku="C", quantity=1, value=7)
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "22.00"}


def test_it_sends_a_line_added_later_and_nothing_twice(
    account: Account, one: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    made = two_discs(account, one)
    sync()
    made.save()
    OrderLine.objects.create(order=made, sku="LP", quantity=1, value=Decimal("5.00"))
    sync()
    made.lines.filter(sku="CD").update(value=Decimal("99.00"))
    made.save()
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "34.33"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0


def test_the_lines_of_an_order_share_its_fate_however_much_is_taken_at_once(
    account: Account, one: Customer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 3)
    monkeypatch.setattr(taking, "MOST_OF_CUSTOMER", 3)
    orders = Order.objects.bulk_create(
        Order(account=account, customer=one, order_id=f"o{n}", status="FULFILLED") for n in range(5)
    )
    OrderLine.objects.bulk_create(OrderLine(order=made, sku="CD", quantity=1, value=1) for made in orders)
    sync()
    assert {status for _, status in ends()} == {"delivered"}


def test_a_reversal_negates_what_was_sent(account: Account, one: Customer, sync: Sync, sandbox: SandboxServer) -> None:
    made = two_discs(account, one)
    sync()
    made.lines.update(value=Decimal("99.00"))
    made.status = "REVERSED"
    made.save()
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert sorted(BrazePurchase.objects.values_list("purchase_id", "fate")) == [
        ("o1:1:1", "delivered"),
        ("o1:1:1:R", "delivered"),
        ("o1:1:2", "delivered"),
        ("o1:1:2:R", "delivered"),
    ]
    made.save()
    sync()
    assert BrazePurchase.objects.count() == 4


def test_an_order_fulfilled_and_reversed_at_once_is_sent_in_that_order(
    account: Account, one: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    made = two_discs(account, one)
    made.status = "REVERSED"
    made.save()
    sync()
    prices = [purchase["price"] for purchase in sandbox.profile("c1")["purchases"]]
    assert prices == ["14.66", "14.67", "-14.66", "-14.67"]
    assert {status for _, status in ends()} == {"delivered"}


def test_nothing_is_sent_for_an_order_that_was_reversed_before_purchases_were_wanted(
    account: Account, braze: BrazeSettings, one: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    BrazeSettings.objects.update(sync_purchases=False)
    made = two_discs(account, one)
    BrazeSettings.objects.update(sync_purchases=True)
    made.status = "REVERSED"
    made.save()
    sync()
    assert sandbox.summary()["purchases"] == 0
    assert OutboxEntry.objects.latest("pk").error.startswith("nothing to reverse")


def test_a_reversal_waits_for_an_unknown_sale_and_holds_up_nobody(
    account: Account, one: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    made = two_discs(account, one)
    sync()
    BrazePurchase.objects.update(fate=Fate.UNKNOWN)
    made.status = "REVERSED"
    made.save()
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    assert ends()[-2:] == [("order", "pending"), ("event", "delivered")]
    assert OutboxEntry.objects.get(status="pending").parked


def test_an_order_of_more_lines_than_a_request_holds_arrives_whole(
    account: Account, one: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    made = Order.objects.create(account=account, customer=one, order_id="big", status="FULFILLED")
    OrderLine.objects.bulk_create(
        OrderLine(order=made, position=n, sku=f"S{n}", quantity=3, value=Decimal("0.10")) for n in range(1, 121)
    )
    Event.objects.create(account=account, customer=one, type="AFTER")
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "12.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert {status for _, status in ends()} == {"delivered"}
    assert max(Delivery.objects.values_list("purchases", flat=True)) <= 75

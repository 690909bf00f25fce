"""A decision about thousands of changes, as after a restore, costs no more for each of them than one about few."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Order

pytestmark = pytest.mark.usefixtures("braze")


def orders_of(account: Account, first: int, number: int, status: Status) -> list[int]:
    """So many closed orders, each with a sale and a reversal of this status; returns the ids of the sales' changes."""
    one, _ = Customer.objects.get_or_create(account=account, external_id="c1")
    sales = []
    for place in range(first, first + number):
        order = Order.objects.create(account=account, customer=one, order_id=f"o{place}", status="REVERSED")
        OutboxEntry.objects.filter(subject=str(order.pk)).delete()
        for state in ("FULFILLED", "REVERSED"):
            is_reversal = state == "REVERSED"
            data = {"order_id": order.order_id, "status": state}
            entry = OutboxEntry.objects.create(
                account=account, integration="braze", kind=Kind.ORDER, customer_external_id="c1", status=status,
                subject=str(order.pk), data=data, error="why", settled_at=database_now(),
            )  # fmt: skip
            sales += [] if is_reversal else [entry.pk]
            BrazePurchase.objects.create(
                account=account, customer_external_id="c1", order_id=order.order_id, line=1, part=1, fate=status,
                is_reversal=is_reversal, purchase_id=f"o{place}:1:1{':R' * is_reversal}", product_id="CD", quantity=1,
                price=-5 if is_reversal else 5, currency="USD", time=database_now(), error="why",
            )  # fmt: skip
    return sales


def test_no_change_is_compared_with_all_others(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sales, compared = orders_of(account, 0, 40, Status.UNKNOWN), 0
    equal = OutboxEntry.__eq__

    def counting(one: OutboxEntry, other: Any) -> bool:
        nonlocal compared
        compared += 1
        return equal(one, other)

    monkeypatch.setattr(OutboxEntry, "__eq__", counting)
    assert len(resolution.treat_as_delivered(OutboxEntry.objects.filter(pk__in=sales), "anna")) == 40
    assert compared < 80


def test_refused_orders_are_sent_again_by_as_many_queries_as_one(account: Account, braze: BrazeSettings) -> None:
    def queries(sales: list[int]) -> int:
        with CaptureQueriesContext(connection) as found:
            assert len(resolution.send_again(OutboxEntry.objects.filter(pk__in=sales))) == 2 * len(sales)
        return len(found)

    few = queries(orders_of(account, 0, 2, Status.REJECTED))
    assert queries(orders_of(account, 2, 20, Status.REJECTED)) <= few
    assert not BrazePurchase.objects.exists()  # to be made anew from the orders

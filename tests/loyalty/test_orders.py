"""Orders and their lines: what they may hold, and what is filled in, on every way they can be written."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine

T0 = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("amount", [10**12, "1000000000000", 1e12, Decimal("-1e12")])
def test_it_refuses_an_amount_that_not_every_database_holds(order: Order, amount: Any) -> None:
    with pytest.raises(ValidationError, match="Amounts are below"):
        OrderLine.objects.create(order=order, sku="CD", value=amount)
    OrderLine.objects.create(order=order, sku="CD", value="999999999999.999")
    assert OrderLine.objects.get().value == Decimal("999999999999.999")


def test_lines_of_an_order_that_is_saved_after_them_get_positions(account: Account, customers: list[Customer]) -> None:
    order = Order(account=account, customer=customers[0], order_id="o")
    lines = [OrderLine(order=order, sku=sku, value=1) for sku in "ab"]
    order.save()
    for line in lines:
        line.save()
    assert [line.position for line in lines] == [1, 2]


@pytest.mark.parametrize("write", ["create", "bulk_create", "bulk_update", "update"])
@pytest.mark.parametrize(
    ("status", "filled"),
    [
        ("FULFILLED", "fulfilled_at"),
        ("REVERSED", "closed_at"),
        ("CANCELLED", "closed_at"),
        ("EXPIRED", "closed_at"),
        ("PENDING", None),
    ],
)
def test_it_fills_in_the_time_of_a_status(
    account: Account, customers: list[Customer], write: str, status: str, filled: str | None
) -> None:
    order = Order(account=account, customer=customers[0], order_id="o", status=status)
    if write == "create":
        order.save()
    elif write == "bulk_create":
        Order.objects.bulk_create([order])
    else:
        order.status = "PENDING"
        order.save()
        order.status = status
        if write == "update":
            Order.objects.update(status=status)
            order.refresh_from_db()
        else:
            Order.objects.bulk_update([order], ["status"])
    stored = Order.objects.get()
    for instance in (order, stored):
        assert {name for name in ("fulfilled_at", "closed_at") if getattr(instance, name)} == ({filled} - {None})
    assert order.fulfilled_at == stored.fulfilled_at and order.closed_at == stored.closed_at


def write_status(order: Order, status: str, write: str) -> None:
    order.status = status
    if write == "save":
        order.save()
    elif write == "save status":
        order.save(update_fields=["status"])
    elif write == "bulk_update":
        Order.objects.bulk_update([order], ["status"])
    else:
        Order.objects.update(status=status)


@pytest.mark.parametrize("write", ["save", "save status", "bulk_update", "update"])
def test_it_keeps_a_time_that_is_there(account: Account, customers: list[Customer], write: str) -> None:
    order = Order.objects.create(
        account=account, customer=customers[0], order_id="o", status="FULFILLED", fulfilled_at=T0
    )
    write_status(order, "REVERSED", write)
    stored = Order.objects.get()
    assert stored.fulfilled_at == T0
    assert stored.closed_at is not None and stored.closed_at > T0


@pytest.mark.parametrize("write", ["save", "save status", "bulk_update", "update"])
def test_an_order_that_is_open_again_has_no_closing_time(
    account: Account, customers: list[Customer], write: str
) -> None:
    """Or the next time it is closed would be the first."""
    order = Order.objects.create(
        account=account, customer=customers[0], order_id="o", status="REVERSED", fulfilled_at=T0, closed_at=T0
    )
    write_status(order, "FULFILLED", write)
    if write != "update":
        assert order.closed_at is None
    stored = Order.objects.get()
    assert (stored.fulfilled_at, stored.closed_at) == (T0, None)


def test_it_fills_in_nothing_when_the_status_is_not_written(order: Order) -> None:
    order.status = "FULFILLED"
    order.save(update_fields=["channel"])
    stored = Order.objects.get()
    assert (stored.status, stored.fulfilled_at) == ("PENDING", None)


def test_it_knows_the_currency_of_an_order(account: Account, order: Order) -> None:
    assert order.effective_currency == "COP"
    order.currency = "USD"
    assert order.effective_currency == "USD"


def test_it_has_each_order_id_once_per_account(order: Order, other_account: Account) -> None:
    stranger = Customer.objects.create(account=other_account, external_id="s")
    Order.objects.create(account=other_account, customer=stranger, order_id=order.order_id)
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.create(account=order.account, customer=order.customer, order_id=order.order_id)


def test_it_places_lines_after_the_last(order: Order) -> None:
    OrderLine.objects.create(order=order, sku="first", value=1)
    OrderLine.objects.create(order=order, sku="fifth", value=1, position=5)
    OrderLine.objects.bulk_create(
        [
            OrderLine(order=order, sku="ninth", value=1),
            OrderLine(order=order, sku="eighth", value=1, position=8),
            OrderLine(order=order, sku="tenth", value=1),
        ]
    )
    order.lines.create(sku="eleventh", value=1)
    assert [(line.position, line.sku) for line in order.lines.all()] == [
        (1, "first"),
        (5, "fifth"),
        (8, "eighth"),
        (9, "ninth"),
        (10, "tenth"),
        (11, "eleventh"),
    ]


def test_it_places_lines_of_orders_saved_after_they_were_assigned(account: Account, customers: list[Customer]) -> None:
    orders = [Order(account=account, customer=customers[0], order_id=f"o{n}") for n in range(2)]
    lines = [OrderLine(order=order, sku="s", value=1) for order in orders for _ in range(2)]
    Order.objects.bulk_create(orders)
    OrderLine.objects.bulk_create(lines)
    assert [line.position for line in lines] == [1, 2, 1, 2]


def test_it_refuses_a_line_of_nothing(order: Order) -> None:
    line = OrderLine(order=order, sku="s", value=1, quantity=0)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        line.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        line.save()


@pytest.mark.parametrize(("discounted", "paid"), [(None, "9.990"), (Decimal("0"), "0"), (Decimal("5.125"), "5.125")])
def test_it_says_what_was_paid_for_a_line(order: Order, discounted: Decimal | None, paid: str) -> None:
    OrderLine.objects.create(order=order, sku="s", value=Decimal("9.99"), discounted_value=discounted)
    assert OrderLine.objects.get().paid == Decimal(paid)


def test_it_keeps_the_customer_of_an_order(order: Order, customers: list[Customer]) -> None:
    """What was sent for it is another customer's."""
    order.customer = customers[3]
    with pytest.raises(ValidationError, match="cannot change"):
        order.save()
    order.refresh_from_db()
    assert order.customer == customers[0]

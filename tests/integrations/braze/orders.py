"""Orders, and what becomes of them."""

from decimal import Decimal

from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine


def fulfilled(account: Account, one: Customer, *lines: tuple[str, int | Decimal], order_id: str = "o1") -> Order:
    made = Order.objects.create(account=account, customer=one, order_id=order_id, status="FULFILLED")
    for sku, value in lines:
        OrderLine.objects.create(order=made, sku=sku, quantity=1, value=value)
    return made


def reverse(order: Order) -> None:
    order.status = "REVERSED"
    order.save()


def open_again(order: Order) -> None:
    order.status = "FULFILLED"
    order.save()


def two_discs(account: Account, one: Customer) -> Order:
    """A fulfilled order with one line, two discs for 29.33."""
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", name="Disc", quantity=2, value=Decimal("29.33"))
    return made

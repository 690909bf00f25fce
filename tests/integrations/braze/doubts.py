"""What tests of orders in doubt, and of two connections at once, have in common."""

from collections.abc import Callable
from decimal import Decimal
from threading import Thread

from django.db import connection

from integrations.braze.models import BrazeState
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine

Sync = Callable[[], None]


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


def settle_all(sync: Sync) -> None:
    """A failed request backs off, is composed anew and may fail again: three times are enough."""
    for _ in range(3):
        BrazeState.objects.update(backoff_until=None)
        sync()


def beside(function: Callable[[], object]) -> Thread:
    """Run it on another connection; where it has to wait for our locks, it goes on after our commit."""
    thread = started(function)
    thread.join(2)
    return thread


def waiting() -> int:
    """How many connections wait for a lock in this database. (What one waits for names none; what it has does.)"""
    here = "SELECT pid FROM pg_locks JOIN pg_database ON oid = database WHERE datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN ({here})")
        return int(cursor.fetchone()[0])


def started(function: Callable[[], object]) -> Thread:
    """It runs on another connection."""

    def run() -> None:
        try:
            function()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    return thread

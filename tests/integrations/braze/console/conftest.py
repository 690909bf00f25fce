"""Records whose pages are looked at: a customer who is in Braze, skipped changes, many accounts."""

from collections.abc import Callable

import pytest

from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

Sync = Callable[[], None]


@pytest.fixture
def ada(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Customer:
    one = Customer.objects.create(account=account, external_id="c/1", first_name="Ada", email="ada@example.com")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value=9)
    Event.objects.create(account=account, customer=one, type="VISIT", data={"page": "home"})
    sync()
    return one


@pytest.fixture
def many(account: Account) -> int:
    """So many accounts that the one with records is past the first page of names; how many there are with it."""
    names = [f"A shop, number {number}" for number in range(204)]
    Account.objects.bulk_create(Account(name=name, slug=f"shop-{number}") for number, name in enumerate(names))
    return len(names) + 1


@pytest.fixture
def skipped(account: Account, braze: BrazeSettings) -> list[OutboxEntry]:
    return OutboxEntry.objects.bulk_create(
        OutboxEntry(
            account=account, integration="braze", kind="event", customer_external_id=f"=c{number}", status="skipped",
            error="off" if number else "=HYPERLINK(1)",
        )
        for number in range(3)
    )  # fmt: skip

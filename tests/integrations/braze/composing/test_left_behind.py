"""What is taken away before it could be sent, and names that differ in nothing that Braze keeps."""

from collections.abc import Callable

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Order, OrderLine
from tests.integrations.braze.fates import settle_all

Sync = Callable[[], None]


@pytest.fixture
def order(account: Account, braze: BrazeSettings) -> Order:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=1, value=10)
    return made


def switch_purchases_off(order: Order) -> None:
    BrazeSettings.objects.update(sync_purchases=False)


@pytest.mark.parametrize("take_away", [Order.delete, switch_purchases_off])
def test_the_books_balance_where_an_order_is_taken_away_between_two_attempts(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync, take_away: Callable[[Order], object]
) -> None:
    sandbox.faults.add(status=503, times=1)
    sync()
    take_away(order)
    settle_all(sync)
    assert sandbox.summary()["purchases"] == 0
    assert accounting.check(account.pk) == []


@pytest.mark.made_up
def test_a_purchase_that_waits_is_still_missed_where_its_changes_say_that_it_went(
    account: Account, order: Order, sync: Sync
) -> None:
    sync()
    BrazePurchase.objects.update(fate="pending")
    assert any("is pending" in words for words in accounting.check(account.pk))


def test_who_leaves_one_of_two_audiences_that_are_one_to_braze_stays_in_it(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    plain, spaced = (Audience.objects.create(account=account, name=name) for name in ("VIP", "VIP  "))
    plain.customers.add(order.customer)
    spaced.customers.add(order.customer)
    sync()
    spaced.customers.remove(order.customer)
    sync()
    assert sandbox.profile("c1")["custom_attributes"]["masivo_VIP"] is True
    plain.customers.remove(order.customer)
    sync()
    assert "masivo_VIP" not in sandbox.profile("c1")["custom_attributes"]
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_a_deleted_customer_is_not_made_a_user_by_leaving_an_audience(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(delete_customers=False)
    Audience.objects.create(account=account, name="vip").customers.add(one)
    one.delete()
    sync()
    assert sandbox.profile("c1") is None

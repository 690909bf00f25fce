"""What was refused and is sent again, after more has happened."""

from typing import Any

from integrations.braze.models import BrazePurchase
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled


def test_a_refused_sale_retried_after_the_reversal_leaves_no_revenue(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("GOOD", 10), ("BAD", 5))
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync, 6)
    sandbox.faults.clear()
    order.status = "REVERSED"
    order.save()
    settle_all(sync, 6)
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync, 6)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_a_refused_currency_corrected_at_the_source_is_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED", currency="QQQ")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=10)
    sync()
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"rejected"}
    order.currency = "USD"
    order.save()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_a_refused_deletion_is_not_repeated_once_the_customer_is_back(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    sync()
    one.delete()
    sandbox.faults.add(endpoint="delete", status=400)
    sync()
    sandbox.faults.clear()
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    sync()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert sandbox.profile("c1") is not None
    assert OutboxEntry.objects.filter(error="the customer exists again", status="skipped").exists()

"""An order of more purchases than a request holds, that is switched off when only some of them have left."""

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import reverse

OPEN = OutboxEntry.objects.filter(status__in=("unknown", "rejected"))


@pytest.fixture
def order(account: Account, braze: BrazeSettings) -> Order:
    one = Customer.objects.create(account=account, external_id="c1")
    made = Order.objects.create(account=account, customer=one, order_id="o1")
    OrderLine.objects.bulk_create(OrderLine(order=made, sku=f"S{n}.", quantity=1, value=1) for n in range(80))
    made.status = "FULFILLED"
    made.save()
    return made


def switched_off(sync: Sync) -> None:
    sync()
    BrazeSettings.objects.update(sync_purchases=False)
    settle_all(sync)
    BrazeSettings.objects.update(sync_purchases=True)


@pytest.fixture(params=["in doubt", "refused"])
def stopped(request: pytest.FixtureRequest, order: Order, sandbox: SandboxServer, sync: Sync) -> Order:
    """Of 80 purchases, 75 may have arrived, or one of them was refused; and 5 have not left."""
    if request.param == "refused":
        sandbox.faults.add(status=400, contains='"S3."')
        sandbox.faults.add(status=503, contains='"S79."')
    else:
        sandbox.faults.add(close="before", times=1)
    switched_off(sync)
    sandbox.faults.clear()
    return order


def arrived(sandbox: SandboxServer) -> str:
    return str(sandbox.summary()["revenue"].get("USD", "0.00"))


def edit(order: Order) -> None:
    order.channel = "web"
    order.save()


def test_what_never_left_of_a_discarded_order_is_not_sent_by_an_edit(
    stopped: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    before = arrived(sandbox)
    resolution.discard(OPEN.all(), by="ada", reason="not wanted")
    edit(stopped)
    settle_all(sync)
    assert arrived(sandbox) == before


def test_the_books_balance(stopped: Order) -> None:
    assert accounting.check(stopped.account_id) == []


def test_sent_again_it_is_sent_whole(stopped: Order, sandbox: SandboxServer, sync: Sync) -> None:
    resolution.send_again(OPEN.all())
    settle_all(sync)
    assert arrived(sandbox) == "80.00"
    assert not OPEN.exists()
    assert accounting.check(stopped.account_id) == []


def test_what_never_left_of_a_discarded_reversal_is_not_sent_by_an_edit(
    order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    settle_all(sync)
    reverse(order)
    sandbox.faults.add(close="before", times=1)
    switched_off(sync)
    assert accounting.check(order.account_id) == []
    resolution.discard(OPEN.all(), by="ada", reason="not wanted")
    edit(order)
    settle_all(sync)
    assert arrived(sandbox) == "80.00"


def test_what_never_left_of_an_order_in_no_doubt_is_sent_by_an_edit(
    order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    """It was only skipped: nobody has to decide about it."""
    sandbox.faults.add(status=503, times=1)
    switched_off(sync)
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"pending"}
    edit(order)
    settle_all(sync)
    assert arrived(sandbox) == "80.00"

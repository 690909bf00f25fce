"""An order in doubt that was deleted and made again under its number: its changes name the one that is gone."""

import pytest

from integrations.braze.models import BrazePurchase
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled

OPEN = OutboxEntry.objects.filter(status__in=("unknown", "rejected"))


@pytest.fixture
def gone(account: Account, one: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="before", times=1)
    settle_all(sync)
    order.delete()


@pytest.mark.usefixtures("gone")
def test_it_can_be_sent_again(account: Account, one: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    again = fulfilled(account, one, ("CD", 10))
    settle_all(sync)
    resolution.send_again(OPEN.all())
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    assert not OPEN.exists()
    assert set(OutboxEntry.objects.filter(kind="order").values_list("subject", flat=True)) == {str(again.pk)}
    assert accounting.check(account.pk) == []


@pytest.mark.usefixtures("gone")
def test_it_stays_in_doubt_where_the_order_is_another_customer_s_now(
    account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    fulfilled(account, Customer.objects.create(account=account, external_id="c2"), ("CD", 10))
    settle_all(sync)
    resolution.send_again(OPEN.all())
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {}
    assert BrazePurchase.objects.get().fate == "unknown"
    assert accounting.check(account.pk) == []


@pytest.mark.usefixtures("gone")
def test_it_stays_in_doubt_where_the_order_is_gone(account: Account, sandbox: SandboxServer, sync: Sync) -> None:
    resolution.send_again(OPEN.all())
    settle_all(sync)
    assert not Order.objects.exists()
    assert BrazePurchase.objects.get().fate == "unknown"
    assert set(OPEN.values_list("data__order_id", flat=True)) == {"o1"}

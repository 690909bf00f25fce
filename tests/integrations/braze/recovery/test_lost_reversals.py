"""A reversal that a restored database has lost, of an order that is not there any more."""

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse
from tests.integrations.braze.recovery.test_restored import lost_afterwards
from tests.integrations.braze.recovery.test_truthful_operator import Operator


@pytest.mark.parametrize("is_sent", [True, False])
def test_a_deleted_order_is_reversed_once(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, is_sent: bool
) -> None:
    operator = Operator(account, sandbox, sync)
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    settle_all(sync)
    reverse(order)
    order.delete()
    with lost_afterwards():
        if not is_sent:
            sandbox.faults.add(close="before", times=1)
        sync()
    operator.restore()
    assert BrazePurchase.objects.get(is_reversal=True).fate == "unknown"
    operator.decide()
    operator.ends_with("0.00")


def test_the_sale_of_a_deleted_order_is_in_doubt_together_with_its_reversal(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    operator = Operator(account, sandbox, sync)
    sandbox.faults.add(status=503, times=1)
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    reverse(order)
    with lost_afterwards():
        settle_all(sync)
    order.delete()
    operator.restore()
    operator.decide()
    operator.ends_with("0.00")

"""What becomes of an order's purchases that were composed but not sent, where the order is sent no more."""

from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled


@pytest.fixture(autouse=True)
def at_once(settings: Any) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = settings.BRAZE_DELETE_SETTLES_SECONDS = 0


@pytest.fixture
def order(account: Account, braze: BrazeSettings) -> Order:
    return fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))


@pytest.fixture
def turned_away(order: Order, sandbox: SandboxServer, sync: Sync) -> Order:
    """Braze did not take its request: it is to be sent again."""
    sandbox.faults.add(status=503, times=1)
    sync()
    assert fates() == ["pending"]
    return order


@pytest.fixture
def in_doubt(order: Order, sandbox: SandboxServer, sync: Sync) -> Order:
    """It may have arrived, and a person decided to send it again."""
    sandbox.faults.add(close="after", times=1)
    sync()
    resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
    assert fates() == ["pending"]
    return order


def fates() -> list[str]:
    return list(BrazePurchase.objects.order_by("pk").values_list("fate", flat=True))


def of_order(order: Order) -> set[str]:
    changes = OutboxEntry.objects.filter(kind__startswith="order", subject=str(order.pk))
    return set(changes.values_list("status", flat=True))


def no_purchases(braze: BrazeSettings) -> None:
    braze.sync_purchases = False
    braze.save()


def test_what_was_turned_away_and_is_no_longer_wanted_is_in_no_doubt(
    braze: BrazeSettings, turned_away: Order, sync: Sync
) -> None:
    no_purchases(braze)
    settle_all(sync)
    assert of_order(turned_away) == {"skipped"}
    assert fates() == ["pending"]


def test_what_may_have_arrived_and_is_no_longer_wanted_stays_in_doubt(
    braze: BrazeSettings, in_doubt: Order, sync: Sync
) -> None:
    no_purchases(braze)
    settle_all(sync)
    assert of_order(in_doubt) == {"unknown"}
    assert fates() == ["unknown"]
    assert BrazePurchase.objects.get().settled_at is not None


def test_what_is_sent_again_is_on_its_way_with_its_next_request(in_doubt: Order) -> None:
    BrazeState.objects.update(backoff_until=None)
    relay.relay(in_doubt.account_id)
    assert fates() == ["buffered"]


def test_what_was_turned_away_goes_with_its_customer(turned_away: Order, sync: Sync) -> None:
    turned_away.customer.delete()
    settle_all(sync)
    assert fates() == []


def test_what_may_have_arrived_stays_in_doubt_though_its_customer_was_deleted(in_doubt: Order, sync: Sync) -> None:
    in_doubt.customer.delete()
    settle_all(sync)
    assert fates() == ["unknown"]
    assert BrazePurchase.objects.get().settled_at is not None


def test_what_was_turned_away_and_cannot_be_mapped_any_more_is_rejected(
    turned_away: Order, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("of another shape")

    monkeypatch.setattr("integrations.braze.mapping.purchases.sales", broken)
    settle_all(sync)
    assert of_order(turned_away) == {"rejected"}
    row = BrazePurchase.objects.get()
    assert row.fate == "rejected"
    assert "of another shape" in row.error
    assert row.settled_at is not None


def test_orders_of_a_customer_created_again_are_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    fulfilled(account, one, ("CD", 10))
    relay.relay(account.pk)
    one.delete()
    sync()
    fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_a_sale_that_never_left_is_not_sent_by_its_reversal(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(status=503, times=1)
    sync()
    BrazeSettings.objects.update(sync_purchases=False)
    settle_all(sync, 2)
    BrazeSettings.objects.update(sync_purchases=True)
    order.status = "REVERSED"
    order.save()
    settle_all(sync)
    assert sandbox.summary()["purchases"] == 0
    assert not OutboxEntry.objects.filter(status="pending").exists()

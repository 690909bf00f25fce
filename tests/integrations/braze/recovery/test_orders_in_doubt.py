"""An order that failed, was refused or is in doubt, and what happens to it and around it until it ends."""

from decimal import Decimal
from typing import Any

import pytest

from integrations.braze.composing import compose, relay
from integrations.braze.composing.taking import Pass
from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, open_again, reverse


def test_an_order_of_a_customer_created_again_is_not_bound_to_a_doubt_that_nobody_can_end(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    one = Customer.objects.create(account=account, external_id="c1")
    fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    one.delete()
    settle_all(sync)
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    settle_all(sync)
    reverse(order)
    settle_all(sync)
    resolution.treat_as_delivered(OutboxEntry.objects.all(), by="ada")
    settle_all(sync)
    assert accounting.check(account.pk) == []
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_each_doubt_of_a_customer_created_again_is_shown_whatever_else_is_open(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    one = Customer.objects.create(account=account, external_id="c1")
    for name in ("o1", "o2"):
        fulfilled(account, one, ("CD", 10), order_id=name)
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    one.delete()
    settle_all(sync)
    again = Customer.objects.create(account=account, external_id="c1")
    fulfilled(account, again, ("BAD", 10), order_id="o3")
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync)
    for name in ("o1", "o2"):
        fulfilled(account, again, ("CD", 10), order_id=name)
    settle_all(sync)
    shown = OutboxEntry.objects.filter(status="unknown", kind__startswith="order")
    in_doubt = BrazePurchase.objects.filter(fate="unknown").values_list("order_id", "error")
    assert {(entry.data["order_id"], entry.error) for entry in shown} == set(in_doubt)
    assert in_doubt.count() == 2


def test_a_reversal_of_an_order_that_another_customer_has_now_brings_nobody_back(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    one = Customer.objects.create(account=account, external_id="c1")
    fulfilled(account, one, ("CD", 10))
    sync()
    one.delete()
    settle_all(sync)
    assert sandbox.profile("c1") is None
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c2"), ("CD", 10))
    settle_all(sync)
    reverse(order)
    settle_all(sync)
    assert sandbox.profile("c1") is None


def test_an_order_that_another_customer_has_now_shows_that_its_purchases_stay_where_they_are(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    order.delete()
    fulfilled(account, Customer.objects.create(account=account, external_id="c2"), ("CD", 10))
    settle_all(sync)
    entries = OutboxEntry.objects.filter(customer_external_id="c2", kind__startswith="order")
    assert set(entries.values_list("status", flat=True)) == {"rejected"}
    assert entries[0].error == compose.OF_ANOTHER.format("c1")
    assert accounting.check(account.pk) == []


def test_a_refused_line_mapped_anew_adds_up_with_what_was_sent(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="A", quantity=2_000_000, value=Decimal("0.003"))
    OrderLine.objects.create(order=order, sku="B", quantity=1, value=Decimal("0.004"))
    settle_all(sync)
    first = order.lines.get(sku="A")
    first.quantity = 1
    first.save()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.01"}
    assert list(accounting.revenue(account.pk)) == []


def test_a_refused_line_mapped_anew_makes_up_for_what_was_rounded_beside_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """Of 10.005 and 5.005, the second was sent as 5.00, since the first was to be 10.01."""
    one = Customer.objects.create(account=account, external_id="c1")
    fulfilled(account, one, ("BAD", Decimal("10.005")), ("CD", Decimal("5.005")))
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync)
    sandbox.faults.clear()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "15.01"}
    assert accounting.check(account.pk) == []


def test_a_sale_whose_reversal_nobody_captured_is_reversed_once_it_is_known_to_have_arrived(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    BrazeSettings.objects.update(sync_purchases=False)
    reverse(order)
    BrazeSettings.objects.update(sync_purchases=True)
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_a_refused_sale_sent_again_after_its_reversal_is_reversed_once_it_is_known_to_have_arrived(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("BAD", 10))
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync)
    sandbox.faults.clear()
    reverse(order)
    settle_all(sync)  # nothing to reverse
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


@pytest.fixture
def not_mapped(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Order:
    """A sale that may have arrived was to be sent again, when another order of its customer could not be mapped."""
    one = Customer.objects.create(account=account, external_id="c1")
    other = fulfilled(account, one, ("DVD", 5), order_id="o2")
    sync()
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    sync()
    resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
    reverse(other)
    BrazePurchase.objects.filter(order_id="o2").update(properties=["of another shape"])
    settle_all(sync)
    BrazePurchase.objects.filter(order_id="o2").update(properties={})
    return order


def test_the_books_balance_where_a_change_cannot_be_mapped(account: Account, not_mapped: Order) -> None:
    assert accounting.check(account.pk) == []


def test_a_sale_in_doubt_that_cannot_be_mapped_can_be_treated_as_delivered(
    account: Account, not_mapped: Order, sync: Sync, sandbox: SandboxServer
) -> None:
    resolution.treat_as_delivered(OutboxEntry.objects.filter(data__order_id="o1"), by="ada")
    settle_all(sync)
    assert BrazePurchase.objects.get(order_id="o1").fate == "delivered"


def test_a_sale_in_doubt_that_cannot_be_mapped_and_is_discarded_holds_up_no_reversal(
    account: Account, not_mapped: Order, sync: Sync
) -> None:
    resolution.discard(OutboxEntry.objects.filter(data__order_id="o1"), by="ada", reason="no")
    reverse(not_mapped)
    settle_all(sync)
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_a_sale_that_cannot_be_mapped_and_is_discarded_is_not_sent_by_an_edit(
    account: Account, not_mapped: Order, sync: Sync, sandbox: SandboxServer
) -> None:
    resolution.discard(OutboxEntry.objects.filter(data__order_id="o1"), by="ada", reason="no")
    not_mapped.channel = "web"
    not_mapped.save()
    settle_all(sync)
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0


def test_an_edit_of_a_line_that_never_left_counts(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10), ("DVD", 5))
    sandbox.faults.add(status=503, times=1)
    sync()  # not accepted: it is to be sent again
    order.lines.filter(sku="CD").update(value=7)
    order.lines.get(sku="DVD").delete()
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "7.00"}


def test_an_order_made_again_before_it_left_is_sent_as_it_is_now(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sandbox.faults.add(status=503, times=1)
    sync()
    order.delete()
    settle_all(sync)
    fulfilled(account, Customer.objects.create(account=account, external_id="c2"), ("DVD", 7))
    settle_all(sync)
    assert sandbox.profile("c1")["purchases"] == []
    assert sandbox.summary()["revenue"] == {"USD": "7.00"}


def test_a_sale_in_doubt_keeps_its_reason_where_its_order_was_reversed_while_the_relay_read_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))

    class Reversing(Pass):
        def take(self, now: Any) -> Any:
            taken = super().take(now)
            if order.status == "FULFILLED":
                reverse(order)
            return taken

    with monkeypatch.context() as patch:
        patch.setattr(relay, "Pass", Reversing)
        relay.relay(account.pk)
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    sale = OutboxEntry.objects.filter(data__status="FULFILLED").first()
    assert sale.status == "unknown"
    assert "connection broke" in sale.error


def test_a_sale_treated_as_delivered_is_not_rejected_for_its_reversal(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The order was reversed, which Braze refused, and opened again with another line."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    sandbox.faults.add(status=400, contains="o1:1:1:R")
    reverse(order)
    settle_all(sync)
    open_again(order)
    sandbox.faults.clear()
    sandbox.faults.add(close="after", times=1)
    OrderLine.objects.create(order=order, sku="LP", quantity=1, value=5)
    settle_all(sync)
    unknown = list(OutboxEntry.objects.filter(status="unknown").values_list("pk", flat=True))
    assert unknown
    resolution.treat_as_delivered(OutboxEntry.objects.filter(pk__in=unknown), by="ada")
    assert set(OutboxEntry.objects.filter(pk__in=unknown).values_list("status", flat=True)) == {"delivered"}
    assert OutboxEntry.objects.get(data__status="REVERSED").status == "rejected"


def test_a_sale_that_arrived_is_reversed_though_another_line_of_its_order_was(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """Reversed, opened again with another line, and closed while purchases were off."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    reverse(order)
    sync()
    open_again(order)
    sandbox.faults.add(close="after", times=1)
    OrderLine.objects.create(order=order, sku="LP", quantity=1, value=5)
    settle_all(sync)
    BrazeSettings.objects.update(sync_purchases=False)
    reverse(order)
    settle_all(sync)
    BrazeSettings.objects.update(sync_purchases=True)
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert accounting.check(account.pk) == []


def test_a_sale_that_arrived_in_part_is_reversed(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """Both lines were refused, so that its reversal had nothing to negate; sent again, one of them arrives."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10), ("BAD", 5))
    sandbox.faults.add(status=400, contains='"CD"')
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync)
    sandbox.faults.clear()
    reverse(order)
    settle_all(sync)
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sandbox.faults.add(status=400, contains='"BAD"')
    sandbox.faults.add(close="after", contains='"CD"', after=1)  # not the request of both, which is refused
    settle_all(sync)
    sandbox.faults.clear()
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert OutboxEntry.objects.filter(status="rejected", error__contains="400").exists()
    assert accounting.check(account.pk) == []


@pytest.fixture
def given_up(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Order:
    """A reversal that did not arrive was discarded, as its order had been opened again."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    settle_all(sync)
    sandbox.faults.add(close="before", times=1)
    reverse(order)
    settle_all(sync)
    open_again(order)
    settle_all(sync)
    resolution.discard(OutboxEntry.objects.filter(status="unknown"), by="ada", reason="opened again")
    return order


def test_an_order_closed_after_its_reversal_was_discarded_is_reversed(
    account: Account, given_up: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    reverse(given_up)
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(account.pk) == []


def test_an_edit_of_an_order_whose_reversal_was_discarded_reverses_nothing(
    account: Account, given_up: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    closed_before = BrazePurchase.objects.get(fate="discarded").time
    given_up.status, given_up.closed_at = "REVERSED", closed_before
    given_up.save()
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    assert OutboxEntry.objects.latest("pk").error == "not reversed: its reversal was discarded"

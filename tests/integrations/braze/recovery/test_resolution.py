"""A person's decisions about what Braze refused, or may have taken."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest

from integrations.braze.composing import compose, relay
from integrations.braze.composing.taking import Pass
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import settle_all
from tests.integrations.braze.orders import fulfilled, reverse

Sync = Callable[[], None]


@pytest.fixture
def unknown_order(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Order:
    """An order whose purchases were applied, though the answer was lost."""
    one = Customer.objects.create(account=account, external_id="c1")
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=2, value=Decimal("29.33"))
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"unknown"}
    return made


def orders() -> dict[str, str]:
    return dict(OutboxEntry.objects.filter(kind__startswith="order").values_list("kind", "status"))


def test_treated_as_delivered_it_can_be_reversed(unknown_order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    unknown_order.status = "REVERSED"
    unknown_order.save()
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}
    resolution.treat_as_delivered(OutboxEntry.objects.filter(kind="order"), by="ada")
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert "treated as delivered by ada" in OutboxEntry.objects.filter(kind="order").order_by("pk")[0].error


def test_a_reversal_that_was_refused_when_it_was_due_can_be_sent_again(
    unknown_order: Order, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was parked behind its sale, looked at again, and could not be mapped."""
    unknown_order.status = "REVERSED"
    unknown_order.save()
    sync()
    reversal = OutboxEntry.objects.filter(parked=True)
    assert reversal.update(due_at=database_now()) == 1
    with monkeypatch.context() as patch:
        patch.setattr(compose, "bundle", Mock(side_effect=ValueError))
        sync()
    assert set(orders().values()) == {"rejected", "unknown"}
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sync()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}  # the sale arrived twice


def test_a_purchase_that_is_treated_as_delivered_says_who_said_so(unknown_order: Order) -> None:
    assert "connection broke" in BrazePurchase.objects.order_by("pk")[0].error
    left = BrazePurchase.objects.order_by("pk")[1]
    resolution.treat_as_delivered(OutboxEntry.objects.filter(kind="order"), by="ada", not_arrived=[left.pk])
    told = list(BrazePurchase.objects.order_by("pk").values_list("fate", "error"))
    assert told == [("delivered", "treated as delivered by ada"), ("unknown", left.error)]


def test_a_sale_and_its_reversal_captured_together_can_be_resolved(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The sale is held in its own name: only the reversal waits behind it."""
    one = Customer.objects.create(account=account, external_id="c1")
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=1, value=7)
    made.status = "REVERSED"
    made.save()
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    of_orders = OutboxEntry.objects.filter(kind__startswith="order").order_by("pk")
    assert [(entry.kind, entry.status, entry.parked) for entry in of_orders] == [
        ("order", "unknown", False),
        ("order_line", "unknown", False),
        ("order", "pending", True),
    ]
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert {entry.status for entry in of_orders.all()} == {"delivered"}


def test_sent_again_it_is_sent_with_the_same_purchase_ids(
    unknown_order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    assert len(resolution.send_again(OutboxEntry.objects.filter(kind="order_line"))) == 2  # with its order
    sync()
    assert orders() == {"order": "delivered", "order_line": "delivered"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 2


def test_a_sale_may_be_sent_again_while_the_relay_reads_its_reversal(
    unknown_order: Order, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay has taken the reversal alone, and then finds a purchase that waits to be sent, as it was in doubt."""
    unknown_order.status = "REVERSED"
    unknown_order.save()

    class Deciding(Pass):
        def take(self, now: datetime) -> list[Entry]:
            taken = super().take(now)
            resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
            return taken

    with monkeypatch.context() as patch:
        patch.setattr(relay, "Pass", Deciding)
        relay.relay(unknown_order.account_id)
    sync()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 2  # the sale's, which had arrived after all
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}  # applied twice, reversed once
    assert accounting.check(unknown_order.account_id) == []


def test_discarded_it_keeps_the_reason_and_is_never_reversed(
    unknown_order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    resolution.discard(OutboxEntry.objects.all(), by="ada", reason="a test order")
    unknown_order.status = "REVERSED"
    unknown_order.save()
    sync()
    assert OutboxEntry.objects.filter(status="discarded").count() == 2
    assert set(BrazePurchase.objects.values_list("error", flat=True)) == {"discarded by ada: a test order"}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}


def test_a_refused_object_is_sent_again_without_its_accepted_sibling(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=1, value=1)
    OrderLine.objects.create(order=made, sku="POISON", quantity=1, value=2)
    sandbox.faults.add(status=400, contains="POISON")
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "1.00"}
    sandbox.faults.clear()
    assert resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "3.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert set(orders().values()) == {"delivered"}


def test_it_leaves_alone_what_is_settled(account: Account, braze: BrazeSettings, sync: Sync) -> None:
    Customer.objects.create(account=account, external_id="c1")
    sync()
    everything = OutboxEntry.objects.all()
    assert resolution.send_again(everything) == []
    assert resolution.treat_as_delivered(everything, by="ada") == []
    assert resolution.discard(everything, by="ada", reason="no") == []
    assert everything.get().status == "delivered"


def test_an_unknown_event_can_be_resolved_too(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(unknown_events="hold")
    one = Customer.objects.create(account=account, external_id="c1")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sandbox.faults.add(close="before", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    assert len(resolution.send_again(OutboxEntry.objects.filter(status="unknown"))) == 1
    sync()
    assert sandbox.summary()["events"] == 1


def test_a_decision_of_one_account_leaves_another_s_order_of_the_same_name_alone(
    unknown_order: Order, account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    """Chosen together: an order of each account; ids of customers and orders are an account's own."""
    other = Account.objects.create(name="Other", slug="other")
    mine = OutboxEntry.objects.get(kind="order")
    for order_id in ("o1", "o2"):
        OutboxEntry.objects.create(
            account=other, integration="braze", kind="order", customer_external_id="c1", subject=f"9{order_id}",
            data={"order_id": order_id, "status": "FULFILLED"}, status="unknown",
        )  # fmt: skip
        row = BrazePurchase.objects.filter(account=account)[0]
        row.pk, row.account, row.order_id, row.purchase_id = None, other, order_id, f"{order_id}:1:1"
        row.save(force_insert=True)
    theirs = OutboxEntry.objects.get(account=other, subject="9o2")
    resolution.discard(OutboxEntry.objects.filter(pk__in=[mine.pk, theirs.pk]), by="ada", reason="a test")
    fates = dict(BrazePurchase.objects.filter(account=other).values_list("order_id", "fate"))
    assert fates == {"o1": "unknown", "o2": "discarded"}
    assert OutboxEntry.objects.get(account=other, subject="9o1").status == "unknown"
    assert set(BrazePurchase.objects.filter(account=account).values_list("fate", flat=True)) == {"discarded"}


def test_a_refused_deletion_is_sent_again_though_another_account_has_a_customer_of_that_id(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    one = Customer.objects.create(account=account, external_id="c1")
    Customer.objects.create(account=Account.objects.create(name="Other", slug="other"), external_id="c1")
    sync()
    sandbox.faults.add(status=400, endpoint="delete", times=1)
    one.delete()
    sync()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sync()
    assert sandbox.profile("c1") is None


def test_a_reversal_that_is_refused_twice_is_in_no_doubt(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sync()
    sandbox.faults.add(status=400, contains=':R"')
    reverse(order)
    settle_all(sync)
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert BrazePurchase.objects.get(is_reversal=True).fate == "rejected"
    assert not OutboxEntry.objects.filter(status="unknown").exists()


@pytest.fixture
def half_refused(unknown_order: Order) -> OutboxEntry:
    """An order one of whose purchases Braze refused in a later request than the one whose answer was lost."""
    BrazePurchase.objects.filter(part=2).update(fate="rejected", error="no such product")
    OutboxEntry.objects.filter(kind__startswith="order").update(status="rejected", worst="rejected", error="no")
    return OutboxEntry.objects.get(kind="order")


def test_an_order_that_is_refused_in_part_may_have_arrived_in_part(half_refused: OutboxEntry) -> None:
    chosen = OutboxEntry.objects.filter(pk=half_refused.pk)
    assert resolution.doubtful(chosen) == {half_refused.pk}
    BrazePurchase.objects.filter(fate="unknown").update(fate="delivered")
    assert resolution.doubtful(chosen) == set()


def test_what_braze_refused_of_an_order_is_never_treated_as_delivered(half_refused: OutboxEntry) -> None:
    """An entry shows the worst of its purchases."""
    resolution.treat_as_delivered(OutboxEntry.objects.filter(pk=half_refused.pk), by="ada")
    assert dict(BrazePurchase.objects.values_list("part", "fate")) == {1: "delivered", 2: "rejected"}
    assert orders() == {"order": "rejected", "order_line": "rejected"}
    assert OutboxEntry.objects.get(pk=half_refused.pk).error == "no such product"

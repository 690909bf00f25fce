"""A person who knows what has arrived, and says so, ends with true revenue, whatever became of an order before.

Each of these was found by random histories of orders, faults, restored backups and decisions, or beside them.
"""

from datetime import timedelta

import pytest
from django.test import Client

from integrations.braze.composing import compose, relay
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState
from integrations.braze.recovery import resolution, restored
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.failed_syncs import act, confirm, said
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, open_again, reverse
from tests.integrations.braze.recovery.test_restored import lost_afterwards

OPEN = OutboxEntry.objects.filter(status__in=("unknown", "rejected"))


class Operator:
    def __init__(self, account: Account, sandbox: SandboxServer, sync: Sync) -> None:
        self.account, self.sandbox, self.sync = account, sandbox, sync

    def restore(self) -> None:
        """After a loss: it is noticed, and the account goes on."""
        BrazeState.objects.update(backoff_until=None)
        self.sync()
        restored.resume(self.account.pk, database_now())

    def say(self) -> None:
        """What has arrived, and nothing else."""
        journal = self.sandbox.journal()
        there = {each["object"]["properties"]["purchase_id"] for each in journal if each["kind"] == "purchase"}
        rows = BrazePurchase.objects.filter(fate="unknown")
        missing = [row.pk for row in rows if row.purchase_id not in there]
        resolution.treat_as_delivered(OPEN.all(), by="ada", not_arrived=missing)
        settle_all(self.sync)

    def decide(self) -> None:
        """Until nothing is open: what has not arrived is sent again."""
        for _ in range(4):
            settle_all(self.sync)
            self.say()
            resolution.send_again(OPEN.all())
            settle_all(self.sync)

    def ends_with(self, revenue: str) -> None:
        assert self.sandbox.summary()["duplicates"]["purchase_id"] == 0
        assert self.sandbox.summary()["revenue"] == {"USD": revenue}
        assert accounting.check(self.account.pk) == []
        assert not OPEN.exists()


@pytest.fixture
def operator(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Operator:
    return Operator(account, sandbox, sync)


def refuse(sandbox: SandboxServer, sku: str, sync: Sync) -> None:
    sandbox.faults.add(status=400, contains=f'"{sku}"')
    settle_all(sync)
    sandbox.faults.clear()


def unseen(order: Order) -> Order:
    """Closed while nobody captured it: its sale reverses itself."""
    BrazeSettings.objects.update(sync_purchases=False)
    reverse(order)
    BrazeSettings.objects.update(sync_purchases=True)
    return order


# --- after a restored backup ----------------------------------------------------------------------------


@pytest.mark.parametrize("in_the_pause", [True, False])
def test_an_order_that_is_opened_again_is_not_reversed_twice(
    one: Customer, operator: Operator, in_the_pause: bool
) -> None:
    order = fulfilled(one.account, one, ("CD", 10))
    reverse(order)
    with lost_afterwards():
        settle_all(operator.sync)
    if not in_the_pause:
        open_again(order)
    operator.sync()
    if in_the_pause:
        open_again(order)
    restored.resume(order.account_id, database_now())
    operator.say()
    reverse(order)
    settle_all(operator.sync)
    operator.ends_with("0.00")


@pytest.mark.parametrize("then_discards", [True, False])
def test_what_is_refused_leaves_no_reversal_behind(
    one: Customer, operator: Operator, sandbox: SandboxServer, then_discards: bool
) -> None:
    order = fulfilled(one.account, one, ("CD", 10), ("BAD", 5))
    reverse(order)
    with lost_afterwards():
        relay.relay(order.account_id)  # and nothing is sent
    operator.restore()
    sandbox.faults.add(status=400, contains='"BAD"')
    resolution.send_again(OPEN.all())
    settle_all(operator.sync)
    if then_discards:
        resolution.discard(OPEN.all(), by="ada", reason="no")
        settle_all(operator.sync)
    assert accounting.check(order.account_id) == []


@pytest.mark.parametrize("sent", [True, False])
def test_what_never_left_is_in_doubt_as_the_order_is_now(
    one: Customer, operator: Operator, sandbox: SandboxServer, sent: bool
) -> None:
    order = fulfilled(one.account, one, ("CD", 10), ("DVD", 5))
    sandbox.faults.add(status=503, times=1)
    operator.sync()
    order.lines.filter(sku="CD").update(value=7)
    order.lines.get(sku="DVD").delete()
    with lost_afterwards():
        BrazeState.objects.update(backoff_until=None)
        relay.relay(order.account_id)
        if sent:
            settle_all(operator.sync)
    operator.restore()
    operator.decide()
    operator.ends_with("7.00")


def test_a_sale_that_reversed_itself_by_a_clock_that_is_ahead_is_not_reversed_twice(
    one: Customer, operator: Operator
) -> None:
    order = fulfilled(one.account, one, ("CD", 10))
    order.closed_at = database_now() + timedelta(hours=1)
    unseen(order)
    with lost_afterwards():
        settle_all(operator.sync)
    operator.restore()
    operator.decide()
    operator.ends_with("0.00")


def test_a_sale_that_reversed_itself_and_is_edited_in_the_pause_is_not_reversed_twice(
    one: Customer, operator: Operator
) -> None:
    order = unseen(fulfilled(one.account, one, ("CD", 10)))
    with lost_afterwards():
        settle_all(operator.sync)
    operator.sync()
    order.channel = "web"
    order.save()
    restored.resume(order.account_id, database_now())
    operator.decide()
    operator.ends_with("0.00")


def test_what_was_refused_and_sent_again_since_the_backup_is_not_sent_twice(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    fulfilled(one.account, one, ("BAD", 10))
    refuse(sandbox, "BAD", operator.sync)
    with lost_afterwards():
        resolution.send_again(OPEN.all())
        settle_all(operator.sync)
    operator.restore()
    assert "this may have been sent since. Before: Braze answered 400" in OPEN.all()[0].error
    operator.decide()
    operator.ends_with("10.00")


def test_what_was_refused_in_part_and_sent_again_since_the_backup_is_reversed_whole(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    order = fulfilled(one.account, one, ("CD", 10), ("BAD", 5))
    refuse(sandbox, "BAD", operator.sync)
    with lost_afterwards():
        resolution.send_again(OPEN.all())
        settle_all(operator.sync)
    reverse(order)
    operator.restore()
    operator.decide()
    operator.ends_with("0.00")


# --- decisions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_captured", [True, False])
def test_what_has_arrived_is_reversed_though_the_rest_is_discarded(
    one: Customer, operator: Operator, sandbox: SandboxServer, is_captured: bool
) -> None:
    order = fulfilled(one.account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(operator.sync)
    OrderLine.objects.create(order=order, sku="DVD", quantity=1, value=5)
    sandbox.faults.add(close="before", times=1)
    settle_all(operator.sync)
    if is_captured:
        reverse(order)
    else:
        unseen(order)
    settle_all(operator.sync)
    operator.say()
    resolution.discard(OPEN.all(), by="ada", reason="never arrived")
    settle_all(operator.sync)
    operator.ends_with("0.00")


def test_what_braze_refused_is_corrected_and_sent_again(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    order = fulfilled(one.account, one, ("BAD", 10))
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(operator.sync)
    line = order.lines.get()
    line.sku, line.value = "GOOD", 12
    line.save()
    operator.decide()
    operator.ends_with("12.00")


def test_what_comes_into_doubt_while_the_page_is_shown_stays_there(
    one: Customer, operator: Operator, sandbox: SandboxServer, admin_client: Client
) -> None:
    order = fulfilled(one.account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(operator.sync)
    page = act(admin_client, "treat_as_delivered", list(OPEN.all())[:1])
    shown = BrazePurchase.objects.get().pk
    OrderLine.objects.create(order=order, sku="DVD", quantity=1, value=5)
    sandbox.faults.add(close="before", times=1)
    settle_all(operator.sync)
    confirm(admin_client, "treat_as_delivered", page, listed=[shown], arrived=[shown])
    assert dict(BrazePurchase.objects.values_list("product_id", "fate")) == {"CD": "delivered", "DVD": "unknown"}


def test_the_page_counts_what_is_left_and_nothing_twice(
    one: Customer, operator: Operator, sandbox: SandboxServer, admin_client: Client
) -> None:
    order = fulfilled(one.account, one, ("BAD", 10), order_id="a")
    refuse(sandbox, "BAD", operator.sync)
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=5)
    sandbox.faults.add(close="after", times=1)
    settle_all(operator.sync)
    fulfilled(one.account, one, ("LP", 3), order_id="b")
    sandbox.faults.add(close="before", times=1)
    settle_all(operator.sync)
    rows = dict(BrazePurchase.objects.values_list("product_id", "pk"))
    page = act(admin_client, "treat_as_delivered", list(OPEN.all()))
    page = confirm(admin_client, "treat_as_delivered", page, listed=[rows["CD"], rows["LP"]], arrived=[rows["CD"]])
    assert said(page) == [
        "3 changes treated as delivered.",
        "2 changes have purchases that did not arrive: send them again, or discard them.",
    ]


# --- orders that are deleted, and made again under their numbers -----------------------------------------


def test_what_was_refused_is_made_anew_for_an_order_that_was(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    order = fulfilled(one.account, one, ("BAD", 10))
    refuse(sandbox, "BAD", operator.sync)
    order.delete()
    fulfilled(one.account, one, ("GOOD", 12))
    operator.decide()
    assert operator.sandbox.summary()["revenue"] == {"USD": "12.00"}
    assert accounting.check(one.account_id) == []


def test_a_refused_purchase_of_another_customer_is_not_sent_for_an_order_that_has_its_number(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    order = fulfilled(one.account, one, ("BAD", 10))
    refuse(sandbox, "BAD", operator.sync)
    order.delete()
    two = Customer.objects.create(account=one.account, external_id="c2")
    fulfilled(one.account, two, ("GOOD", 12))
    settle_all(operator.sync)
    assert {entry.error for entry in OPEN.filter(customer_external_id="c2")} == {compose.OF_ANOTHER.format("c1")}
    operator.decide()
    assert sandbox.profile("c1")["purchases"] == []
    operator.ends_with("12.00")


def test_an_order_that_is_another_s_in_part_shows_that(
    one: Customer, operator: Operator, sandbox: SandboxServer
) -> None:
    order = fulfilled(one.account, one, ("CD", 10))
    operator.sync()
    order.delete()
    two = Customer.objects.create(account=one.account, external_id="c2")
    fulfilled(one.account, two, ("CD", 10), ("DVD", 5))
    settle_all(operator.sync)
    assert {entry.error for entry in OPEN.filter(customer_external_id="c2")} == {compose.OF_ANOTHER.format("c1")}
    assert sandbox.summary()["revenue"] == {"USD": "15.00"}

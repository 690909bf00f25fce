"""A customer's changes reach Braze one after the other: never two requests at a time, and none too soon."""

from collections.abc import Callable
from datetime import datetime

import pytest

from integrations.braze.composing import relay
from integrations.braze.composing.taking import Pass
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import counts, settle_all
from tests.integrations.braze.orders import fulfilled, open_again, reverse

Sync = Callable[[], None]


def test_no_two_unsettled_requests_share_a_customer(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    Event.objects.create(account=account, customer=change, type="LATER")
    other = Customer.objects.create(account=account, external_id="c2")
    relay.relay(account.pk)
    assert [entry.customer_external_id for entry in OutboxEntry.objects.filter(status="pending")] == ["c1"]
    assert OutboxEntry.objects.get(customer_external_id=other.external_id).status == "buffered"


def test_a_second_change_of_an_attribute_waits_and_coalesces(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Braze only queues: two changes of one attribute in quick succession may be applied in the other order."""
    BrazeSettings.objects.update(attribute_gap_seconds=60)
    sync()
    for name in ("Bea", "Cleo"):
        change.first_name = name
        change.save()
    Event.objects.create(account=account, customer=change, type="LATER")
    other = Customer.objects.create(account=account, external_id="c2")
    sync()
    waiting = OutboxEntry.objects.filter(status="pending")
    assert {(entry.customer_external_id, entry.kind) for entry in waiting} == {
        ("c1", "customer_updated"),
        ("c1", "event"),
    }
    assert sandbox.profile(other.external_id) is not None
    BrazeProfile.objects.update(recent={})
    waiting.update(due_at=None)
    sync()
    assert counts().keys() == {"delivered"}
    assert sandbox.profile("c1")["standard_attributes"]["first_name"] == "Cleo"


def test_the_gap_is_two_seconds_unless_somebody_sets_it_and_none_at_zero(
    account: Account, change: Customer, sync: Sync
) -> None:
    sister = Account.objects.create(name="Sister", slug="sister")
    assert BrazeSettings.objects.create(account=sister).attribute_gap_seconds == 2
    for gap, status in ((0, "delivered"), (2, "pending")):
        BrazeSettings.objects.filter(account=account).update(attribute_gap_seconds=gap)
        sync()
        change.first_name = f"Ada {gap}"
        change.save()
        sync()
        assert OutboxEntry.objects.latest("pk").status == status
    accepted = BrazeProfile.objects.get(account=account).recent["first_name"]
    due = OutboxEntry.objects.latest("pk").due_at
    assert due is not None
    assert due.timestamp() == pytest.approx(accepted + 2, abs=1e-3)


def test_another_attribute_need_not_wait(account: Account, change: Customer, sync: Sync) -> None:
    BrazeSettings.objects.update(attribute_gap_seconds=60)
    sync()
    change.last_name = "Lovelace"
    change.save()
    sync()
    assert counts().keys() == {"delivered"}


@pytest.fixture
def sold(account: Account, braze: BrazeSettings, sync: Sync) -> Order:
    """An order whose sale Braze has, saved again: that entry will have nothing to send."""
    one = Customer.objects.create(account=account, external_id="c1")
    order = fulfilled(account, one, ("CD", 10))
    sync()
    order.store = "Rome"
    order.save()
    return order


def steps(order: Order, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        Event.objects.create(account=order.account, customer=order.customer, type="STEP", data={"n": number})


def applied(sandbox: SandboxServer) -> list[object]:
    """The numbers of the events and the ids of the purchases that Braze applied, in that order."""
    told = (entry["object"]["properties"] for entry in sandbox.journal() if entry["kind"] in ("event", "purchase"))
    return [properties.get("n", properties.get("purchase_id")) for properties in told]


def test_a_reversal_overtakes_no_event(sold: Order, sandbox: SandboxServer, sync: Sync) -> None:
    """Nor where the order has an older change that has nothing to send, and more events than a request holds follow."""
    steps(sold, 80)
    reverse(sold)
    sync()
    assert applied(sandbox) == ["o1:1:1", *range(80), "o1:1:1:R"]
    assert OutboxEntry.objects.filter(kind="order", status="skipped").count() == 1
    assert accounting.check(sold.account_id) == []


def test_a_reversal_far_behind_overtakes_no_event(sold: Order, sandbox: SandboxServer, sync: Sync) -> None:
    """Beyond all that is taken of a customer at once."""
    for number in range(150):
        sold.customer.city = f"City {number}"
        sold.customer.save()
    steps(sold, 1)
    reverse(sold)
    sync()
    assert applied(sandbox) == ["o1:1:1", 0, "o1:1:1:R"]


def test_a_later_order_far_behind_overtakes_no_event(sold: Order, sandbox: SandboxServer, sync: Sync) -> None:
    """An order's own sale is brought along, however far behind; another order's is not."""
    for number in range(150):
        sold.customer.city = f"City {number}"
        sold.customer.save()
    steps(sold, 1)
    fulfilled(sold.account, sold.customer, ("LP", 5), order_id="o2")
    sync()
    assert applied(sandbox) == ["o1:1:1", 0, "o2:1:1"]


def test_a_reversal_that_comes_while_the_relay_reads_overtakes_no_event(
    sold: Order, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(sold, 80)

    class Closing(Pass):
        def take(self, now: datetime) -> list[Entry]:
            taken = super().take(now)
            reverse(sold)
            return taken

    with monkeypatch.context() as patch:
        patch.setattr(relay, "Pass", Closing)
        relay.relay(sold.account_id)
    sync()
    assert applied(sandbox) == ["o1:1:1", *range(80), "o1:1:1:R"]


def test_an_event_overtakes_no_reversal(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The reversal waits until its sale has been answered, and what comes after it waits as well."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    steps(order, 2)
    reverse(order)
    steps(order, 2, start=2)
    sync()
    facts = OutboxEntry.objects.exclude(kind="customer_created").order_by("pk")
    requests = [entry.batch for entry in facts]
    closing = next(place for place, entry in enumerate(facts) if entry.data.get("status") == "REVERSED")
    assert (
        len(set(requests[:closing])) == len(set(requests[closing:])) == 1
    )  # one request each, the reversal in the second
    assert len(set(requests)) == 2
    assert accounting.check(account.pk) == []


def test_an_order_that_was_opened_again_is_reversed_to_the_last_line(
    sold: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    """Its reversals have a sale between them, of a line that was added."""
    sync()
    reverse(sold)
    open_again(sold)
    OrderLine.objects.create(order=sold, sku="LP", quantity=1, value=5)
    reverse(sold)
    settle_all(sync)
    assert sorted(map(str, applied(sandbox))) == ["o1:1:1", "o1:1:1:R", "o1:2:1", "o1:2:1:R"]
    assert not OutboxEntry.objects.filter(status__in=("pending", "buffered")).exists()


def test_an_order_closed_opened_and_closed_again_is_reversed_once(
    sold: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    """With nothing new to sell in between; nor does it hold up any other customer."""
    sync()
    reverse(sold)
    open_again(sold)
    reverse(sold)
    Customer.objects.create(account=sold.account, external_id="c2")
    settle_all(sync)
    assert applied(sandbox) == ["o1:1:1", "o1:1:1:R"]
    assert sandbox.profile("c2") is not None
    assert not OutboxEntry.objects.filter(status__in=("pending", "buffered")).exists()


def test_a_reversal_sent_again_goes_once_though_its_order_was_opened_and_closed_meanwhile(
    sold: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    sync()
    reverse(sold)
    sandbox.faults.add(status=503, times=1)
    sync()
    open_again(sold)
    reverse(sold)
    settle_all(sync)
    assert applied(sandbox) == ["o1:1:1", "o1:1:1:R"]


def test_a_change_that_saw_its_order_open_and_comes_after_its_reversal_does_not_repeat_that(
    sold: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    sync()
    reverse(sold)
    last = OutboxEntry.objects.latest("pk")
    OutboxEntry.objects.create(
        account=sold.account, integration="braze", kind=last.kind, customer_external_id="c1",
        subject=last.subject, data={**last.data, "status": "FULFILLED"},
    )  # fmt: skip
    settle_all(sync)
    assert applied(sandbox) == ["o1:1:1", "o1:1:1:R"]
    assert not OutboxEntry.objects.filter(status__in=("pending", "buffered")).exists()

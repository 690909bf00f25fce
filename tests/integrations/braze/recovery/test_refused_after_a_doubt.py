"""What may have arrived, was sent again and is refused then: that refusal says nothing about the first time."""

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.models.purchase import IN_DOUBT_BEFORE
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse

UNKNOWN = OutboxEntry.objects.filter(status="unknown")


@pytest.fixture
def order(account: Account, one: Customer, sandbox: SandboxServer, sync: Sync) -> Order:
    """It did arrive; the answer was lost; the account's policy sent it again."""
    BrazeSettings.objects.update(unknown_purchases="resend")
    made = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    sync()
    sandbox.faults.add(status=400, contains='"CD"')
    settle_all(sync)
    sandbox.faults.clear()
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    return made


def test_an_order_that_is_refused_after_a_doubt_stays_in_doubt(account: Account, order: Order) -> None:
    shown = UNKNOWN.filter(data__order_id="o1")
    assert shown.count() == 2  # the order and its line
    assert all(entry.error.startswith(f"{IN_DOUBT_BEFORE}Braze answered 400") for entry in shown)
    row = BrazePurchase.objects.get()
    assert (row.fate, row.error) == ("unknown", shown[0].error)
    assert resolution.doubtful(UNKNOWN.all()) == set(shown.values_list("pk", flat=True))
    assert accounting.check(account.pk) == []


def test_its_reversal_waits_until_it_is_treated_as_delivered(order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    reverse(order)
    settle_all(sync)
    assert OutboxEntry.objects.get(data__status="REVERSED").parked
    resolution.treat_as_delivered(UNKNOWN.all(), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_it_is_not_made_anew_when_it_is_sent_again(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    """It may have arrived as it was, and would be negated as it is now."""
    order.lines.update(value=7)
    resolution.send_again(UNKNOWN.all())
    settle_all(sync)
    assert BrazePurchase.objects.get().price == 10
    assert accounting.check(account.pk) == []


def test_refused_once_more_it_has_only_the_newest_words(order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    sandbox.faults.add(status=400, contains='"CD"', message="another reason")
    resolution.send_again(UNKNOWN.all())
    settle_all(sync)
    row = BrazePurchase.objects.get()
    assert (row.fate, row.error.count(IN_DOUBT_BEFORE)) == ("unknown", 1)
    assert "another reason" in row.error


def test_an_event_that_is_refused_after_a_doubt_stays_in_doubt(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """By the default policy, which sends events again."""
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sandbox.faults.add(close="after", times=1)
    sync()
    sandbox.faults.add(status=400, contains='"LOGIN"')
    settle_all(sync)
    assert sandbox.summary()["events"] == 1
    event = OutboxEntry.objects.get(kind="event")
    assert (event.status, event.error) == ("unknown", f"{IN_DOUBT_BEFORE}Braze answered 400: Bad Request")
    assert resolution.doubtful(UNKNOWN.all()) == {event.pk}


def test_what_is_refused_the_first_time_is_in_no_doubt(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    fulfilled(account, one, ("CD", 10), ("DVD", 5))
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sandbox.faults.add(status=400, contains='"CD"')
    sandbox.faults.add(status=400, contains='"LOGIN"')
    settle_all(sync)
    assert not UNKNOWN.exists()
    assert dict(BrazePurchase.objects.values_list("product_id", "fate")) == {"CD": "rejected", "DVD": "delivered"}

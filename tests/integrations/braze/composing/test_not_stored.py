"""A change that cannot be mapped, or that the database does not take, stands alone in the end: the others go on."""

from datetime import datetime
from itertools import count

import pytest

from integrations.braze.composing import relay, taking
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync
from tests.integrations.braze.orders import fulfilled


@pytest.fixture
def culprit(account: Account, braze: BrazeSettings) -> Customer:
    """The seventh of eleven has an order whose purchase is, by its id, there already: in another order's name."""
    customers = [Customer.objects.create(account=account, external_id=f"c{number}") for number in range(11)]
    for number, one in enumerate(customers):
        fulfilled(account, one, ("CD", 10), order_id=f"o{number}")
    BrazePurchase.objects.create(
        account=account, customer_external_id="someone", order_id="another", line=1, part=1, purchase_id="o6:1:1",
        product_id="CD", price=10, quantity=1, currency="USD", time=database_now(), fate="delivered",
    )  # fmt: skip
    return customers[6]


def test_only_the_customer_it_belongs_to_is_set_aside(
    account: Account, culprit: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sync()
    assert [number for number in range(11) if sandbox.profile(f"c{number}") is None] == [6]
    assert sandbox.summary()["purchases"] == 10
    theirs = OutboxEntry.objects.filter(customer_external_id="c6")
    assert set(theirs.values_list("status", flat=True)) == {"rejected"}
    assert theirs.filter(error__startswith="cannot be stored: IntegrityError").count() == theirs.count()
    assert not OutboxEntry.objects.filter(status="rejected").exclude(customer_external_id="c6").exists()


def test_who_waits_beside_it_goes_on_waiting(
    account: Account, culprit: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Created again a moment after their deletion, which would take what is sent too soon with it."""
    BrazeProfile.objects.create(account=account, external_id="c3", deleted_at=database_now())
    sync()
    assert [number for number in range(11) if sandbox.profile(f"c{number}") is None] == [3, 6]
    theirs = OutboxEntry.objects.filter(customer_external_id="c3")
    assert theirs.filter(status="pending", due_at__isnull=False).count() == theirs.count() == 3


def test_it_goes_once_the_cause_is_gone(
    account: Account, culprit: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sync()
    BrazePurchase.objects.filter(order_id="another").delete()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sync()
    assert sandbox.summary()["purchases"] == 11
    assert accounting.check(account.pk) == []


def test_who_was_read_before_the_commit_ahead_is_read_anew_before_they_are_set_aside(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """c1's order is deleted while it is composed, and its number given to one of c2, read before c1's commit."""
    one, two = (Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2"))
    sync()
    order = fulfilled(account, one, ("CD", 10))
    Customer.objects.filter(pk=two.pk).update(first_name="Bea")
    monkeypatch.setattr(taking, "TAKE", 2)
    takes = count(1)

    class Moving(taking.Pass):
        def take(self, now: datetime) -> list[Entry]:
            if next(takes) == 2:
                order.delete()
                fulfilled(account, two, ("CD", 10))
            return super().take(now)

    with monkeypatch.context() as patch:
        patch.setattr(relay, "Pass", Moving)
        relay.relay(account.pk)
    sync()
    assert next(takes) > 2
    assert not OutboxEntry.objects.filter(error__startswith="cannot be stored").exists()
    assert sandbox.profile("c2")["attributes"]["first_name"] == "Bea"


def test_a_record_that_cannot_be_mapped_stops_nobody_else(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sync()
    order.status = "REVERSED"
    order.save()
    BrazePurchase.objects.update(properties=["of another shape"])
    Customer.objects.create(account=account, external_id="innocent")
    sync()
    assert sandbox.profile("innocent") is not None
    assert OutboxEntry.objects.filter(status="rejected", error__contains="cannot be mapped").exists()

"""A customer's changes reach Braze one after the other: never two requests at a time, and none too soon."""

from collections.abc import Callable

from integrations.braze import relay
from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import counts

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


def test_another_attribute_need_not_wait(account: Account, change: Customer, sync: Sync) -> None:
    BrazeSettings.objects.update(attribute_gap_seconds=60)
    sync()
    change.last_name = "Lovelace"
    change.save()
    sync()
    assert counts().keys() == {"delivered"}

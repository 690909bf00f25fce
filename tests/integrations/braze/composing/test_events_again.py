"""An event that is created again under the id of one that was deleted: Braze counts each that there is once."""

from typing import Any

import pytest

from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync


@pytest.fixture
def deleted(account: Account, braze: BrazeSettings, sync: Sync) -> Event:
    """It was captured, and deleted before it left."""
    one = Customer.objects.create(account=account, external_id="c1")
    sync()
    event = Event.objects.create(account=account, customer=one, type="LOGIN", data={"version": 1})
    Event.objects.get(pk=event.pk).delete()
    return event


def again(event: Event, customer: Customer) -> None:
    Event.objects.create(id=event.pk, account=event.account, customer=customer, type="LOGIN", data={"version": 2})


def sent() -> list[tuple[str, Any]]:
    found = [
        event for request in Delivery.objects.order_by("created_at") for event in request.payload.get("events", ())
    ]
    return [(event["external_id"], event["properties"]["version"]) for event in found]


def why() -> list[tuple[str, str]]:
    return list(OutboxEntry.objects.filter(kind="event").order_by("pk").values_list("status", "error"))


def test_it_is_sent_once_if_the_one_before_has_not_left(deleted: Event, sandbox: SandboxServer, sync: Sync) -> None:
    """Both changes found the new one, and each sent it."""
    again(deleted, deleted.customer)
    sync()
    assert sent() == [("c1", 2)]
    assert sandbox.summary()["events"] == 1
    assert why() == [
        ("skipped", "the event was deleted and created again: that later change is sent"),
        ("delivered", ""),
    ]


def test_it_is_sent_of_its_own_customer_alone(deleted: Event, sandbox: SandboxServer, sync: Sync) -> None:
    """The one before was another's, of whom the new one was sent, too."""
    again(deleted, Customer.objects.create(account=deleted.account, external_id="c2"))
    sync()
    assert sent() == [("c2", 2)]
    assert why() == [("skipped", "the event is no longer there"), ("delivered", "")]


def test_it_is_another_event_if_the_one_before_was_sent(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """Braze has the one before for good."""
    one = Customer.objects.create(account=account, external_id="c1")
    event = Event.objects.create(account=account, customer=one, type="LOGIN", data={"version": 1})
    sync()
    Event.objects.get(pk=event.pk).delete()
    again(event, one)
    sync()
    assert sent() == [("c1", 1), ("c1", 2)]
    assert why() == [("delivered", "")] * 2


def test_one_before_that_may_have_arrived_is_held(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """It was to be sent again, with what the new one has, and the new one besides."""
    one = Customer.objects.create(account=account, external_id="c1")
    sync()
    event = Event.objects.create(account=account, customer=one, type="LOGIN", data={"version": 1})
    OutboxEntry.objects.filter(kind="event").update(error="the answer was lost")
    Event.objects.get(pk=event.pk).delete()
    again(event, one)
    sync()
    assert sent() == [("c1", 2)]
    assert why() == [("unknown", "the answer was lost"), ("delivered", "")]

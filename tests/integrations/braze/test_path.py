"""A change's whole path, from the model to what Braze holds, with the rules that govern it."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.models import BrazeProfile, BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event
from tests.integrations.braze.fates import ends
from tests.integrations.braze.orders import two_discs

Sync = Callable[[], None]
Held = Callable[[str], dict[str, Any]]


@pytest.fixture
def ada(account: Account, braze: BrazeSettings) -> Customer:
    return Customer.objects.create(account=account, external_id="Ada-1", first_name="Ada", tags={"vip": True})


@pytest.fixture
def held(sandbox: SandboxServer) -> Held:
    """What Braze holds of a customer."""
    return sandbox.profile


def test_it_brings_everything_of_a_customer_in_one_request(
    account: Account, ada: Customer, sandbox: SandboxServer, sync: Sync, held: Held
) -> None:
    Event.objects.create(account=account, customer=ada, type="ADD_TO_CART", data={"order": {"value": 1.5}})
    two_discs(account, ada)
    Audience.objects.create(account=account, name="Club").customers.add(ada)
    sync()
    assert {status for _, status in ends()} == {"delivered"}
    assert sandbox.summary()["requests"]["track"] == 1
    assert held("Ada-1")["standard_attributes"]["first_name"] == "Ada"
    assert held("Ada-1")["custom_attributes"] == {"tag_vip": True, "masivo_Club": True, "loyalty_points": 0}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}
    delivery = Delivery.objects.get()
    assert (delivery.attributes, delivery.events, delivery.purchases) == (1, 1, 2)
    assert (delivery.status_code, delivery.outcome) == (201, "accepted")


def test_it_sends_only_what_changed(ada: Customer, sync: Sync, held: Held) -> None:
    sync()
    ada.last_name = "Lovelace"
    ada.first_name = ""
    del ada.tags["vip"]
    ada.save()
    sync()
    sent = Delivery.objects.latest("created_at").payload["attributes"]
    assert sent == [{"external_id": "Ada-1", "first_name": None, "last_name": "Lovelace", "tag_vip": None}]
    ada.save()
    sync()
    assert ends()[-1] == ("customer_updated", "skipped")
    assert OutboxEntry.objects.latest("pk").error.startswith("nothing changed")
    assert Delivery.objects.count() == 2


def test_many_changes_of_a_customer_are_one_object(ada: Customer, sync: Sync) -> None:
    for number in range(30):
        ada.city = f"City {number}"
        ada.save()
    sync()
    assert ends() == [("customer_created", "delivered")] + [("customer_updated", "delivered")] * 30
    (sent,) = Delivery.objects.get().payload["attributes"]
    assert sent["home_city"] == "City 29"


def test_it_follows_each_toggle_alone(
    account: Account, braze: BrazeSettings, ada: Customer, sync: Sync, held: Held
) -> None:
    """Switched off after the capture counts as off, too."""
    Event.objects.create(account=account, customer=ada, type="LOGIN")
    two_discs(account, ada)
    braze.sync_events = braze.create_customers = braze.update_customers = False
    braze.save()
    sync()
    assert ends() == [
        ("customer_created", "delivered"),  # its tags have a toggle of their own
        ("event", "skipped"),
        ("order", "delivered"),
        ("order_line", "delivered"),
        ("customer_updated", "delivered"),  # the tags again: only the purchase made the user exist
    ]
    assert held("Ada-1")["custom_attributes"] == {"tag_vip": True}
    assert OutboxEntry.objects.get(kind="event").error == "Events is switched off"
    assert "first_name" not in held("Ada-1")["attributes"]


def test_it_never_forwards_internal_events(account: Account, ada: Customer, sync: Sync, sandbox: SandboxServer) -> None:
    for name in (
        "REGISTRATION",
        "FULFILL",
        "REVERSE",
        "EXPIRE",
        "CANCEL",
        "REDEEM_COUPON",
        "TIER_ADJUSTMENT",
        "fulfill",
    ):
        Event.objects.create(account=account, customer=ada, type=name)
    sync()
    assert [status for kind, status in ends() if kind == "event"] == ["skipped"] * 7 + ["delivered"]
    assert sandbox.summary()["events"] == 1


def test_it_keeps_a_customer_who_may_not_be_created_out_of_braze(
    account: Account, braze: BrazeSettings, sync: Sync, sandbox: SandboxServer
) -> None:
    BrazeSettings.objects.update(create_customers=False)
    one = Customer.objects.create(account=account, external_id="c1")
    one.first_name = "Ada"
    one.save()
    sync()
    (sent,) = Delivery.objects.get().payload["attributes"]
    assert sent["_update_existing_only"] is True
    assert sandbox.summary()["profiles"] == 0
    assert BrazeProfile.objects.get().attributes == {}


def test_updates_that_may_have_met_nobody_are_sent_again_once_the_user_exists(
    account: Account, braze: BrazeSettings, sync: Sync, sandbox: SandboxServer
) -> None:
    """An update-only object proves nothing; an event creates the user, whatever Create says."""
    BrazeSettings.objects.update(create_customers=False)
    one = Customer.objects.create(account=account, external_id="c1")
    one.first_name = "Ada"
    one.save()
    club = Audience.objects.create(account=account, name="Club")
    club.customers.add(one)
    sync()
    assert sandbox.summary()["profiles"] == 0
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    profile = sandbox.profile("c1")
    assert profile["standard_attributes"]["first_name"] == "Ada"
    assert profile["custom_attributes"]["masivo_Club"] is True
    assert BrazeProfile.objects.get().attributes["first_name"] == "Ada"


def test_a_deployment_can_add_internal_events_and_take_none_away(
    account: Account, ada: Customer, sync: Sync, sandbox: SandboxServer, settings: Any
) -> None:
    settings.BRAZE_INTERNAL_EVENTS = ["AUDIT"]
    for name in ("AUDIT", "FULFILL", "audit"):
        Event.objects.create(account=account, customer=ada, type=name)
    sync()
    assert [status for kind, status in ends() if kind == "event"] == ["skipped", "skipped", "delivered"]


def test_it_sends_a_customer_with_nothing_but_an_id(
    account: Account, braze: BrazeSettings, sync: Sync, sandbox
) -> None:
    Customer.objects.create(account=account, external_id="c1", is_anonymous=True)
    sync()
    assert sandbox.summary()["profiles"] == 1


# --- audiences --------------------------------------------------------------------------------------------


def test_audiences_come_and_go(account: Account, ada: Customer, sync: Sync, held: Held) -> None:
    def audiences() -> set[str]:
        custom = held("Ada-1")["custom_attributes"]
        return {name for name in custom if name.startswith("masivo_")}

    club = Audience.objects.create(account=account, name="Club")
    club.customers.add(ada)
    sync()
    assert audiences() == {"masivo_Club"}
    club.name = "Circle"
    club.save()
    sync()
    assert audiences() == {"masivo_Circle"}
    club.delete()
    sync()
    assert audiences() == set()


def test_leaving_clears_an_attribute_that_we_never_sent(account: Account, ada: Customer, sync: Sync) -> None:
    club = Audience.objects.create(account=account, name="Club")
    club.customers.add(ada)
    club.customers.remove(ada)
    sync()
    assert Delivery.objects.get().payload["attributes"][0]["masivo_Club"] is None


# --- deletion ---------------------------------------------------------------------------------------------


def test_a_deleted_customer_is_deleted_and_stays_so_for_a_while(
    account: Account, ada: Customer, sync: Sync, sandbox: SandboxServer, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0.0
    sync()
    ada.delete()
    sync()
    assert sandbox.summary()["profiles"] == 0
    Customer.objects.create(account=account, external_id="Ada-1")
    sync()
    waiting = OutboxEntry.objects.get(status="pending")
    assert waiting.due_at is not None
    assert sandbox.summary()["profiles"] == 0
    Customer.objects.create(account=account, external_id="Bob-1")
    sync()
    assert sandbox.summary()["profiles"] == 1


def test_a_deletion_takes_back_what_is_buffered_and_skips_what_is_held(
    account: Account, ada: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    Event.objects.create(account=account, customer=ada, type="LOGIN")
    other = Customer.objects.create(account=account, external_id="Bob-1")
    held = OutboxEntry.objects.filter(kind="event")
    relay.relay(account.pk)
    held.update(status="unknown", batch=None)
    ada.delete()
    sync()
    assert held.get().error == "customer deleted"
    assert sandbox.profile("Ada-1") is None
    assert sandbox.profile(other.external_id) is not None
    assert sandbox.summary()["events"] == 0


def test_what_was_captured_before_a_deletion_is_not_sent(
    account: Account, ada: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    Event.objects.create(account=account, customer=ada, type="LOGIN")
    ada.delete()
    sync()
    assert sandbox.summary()["requests"] == {"track": 0, "delete": 1, "export": 0}
    assert [status for _, status in ends()] == ["skipped", "skipped", "delivered"]

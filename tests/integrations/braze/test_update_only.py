"""With *Create customers* off, nothing proves that a user is there: what was sent may be held, and is taken back."""

import pytest

from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership
from tests.integrations.braze.fates import Sync
from tests.integrations.braze.test_state import held


@pytest.fixture
def one(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Customer:
    """A customer whom the merchant's Braze has, and of whom the mirror knows nothing."""
    one = Customer.objects.create(account=account, external_id="c1")
    sync()
    BrazeProfile.objects.all().delete()
    braze.create_customers = False
    braze.save()
    return one


def test_what_is_cleared_after_it_was_sent_is_removed(one: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    one.first_name, one.tags = "Ada", {"vip": True, "visits": 3}
    one.save()
    sync()
    assert held(sandbox)["first_name"] == "Ada"
    one.first_name, one.tags = "", {"visits": 3}
    one.save()
    sync()
    assert held(sandbox).keys() == {"loyalty_points", "tag_visits"}


def test_what_was_removed_is_not_removed_again(one: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    one.first_name, one.tags = "Ada", {"vip": True}
    one.save()
    sync()
    one.first_name, one.tags = "", {}
    one.save()
    sync()
    one.city = "Cali"
    one.save()
    sync()
    assert sandbox.journal()[-1]["object"].keys().isdisjoint({"first_name", "tag_vip"})


def test_what_is_cleared_is_removed_once_the_user_turns_out_to_be_there(
    one: Customer, account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    one.first_name = "Ada"
    one.save()
    sync()
    Customer.objects.filter(pk=one.pk).update(first_name="")
    OutboxEntry.objects.filter(status="pending").update(status="discarded")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    assert held(sandbox).keys() == {"loyalty_points"}


def test_who_leaves_an_audience_under_an_old_name_leaves_it(
    one: Customer, account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    """As a process does that has loaded the membership before the audience was renamed."""
    Audience.objects.create(account=account, name="gold").customers.add(one)
    sync()
    stale = Membership.objects.select_related("audience").get()
    fresh = Audience.objects.get()
    fresh.name = "silver"
    fresh.save()
    sync()
    assert held(sandbox)["masivo_silver"] is True
    stale.delete()
    sync()
    assert not [name for name in held(sandbox) if name.startswith("masivo_")]

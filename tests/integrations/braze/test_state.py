"""What Braze holds of a customer is what the records say, whatever has come between: ways in which it once was not."""

from typing import Any

import pytest
from django.db import transaction

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger, settlement, verdicts
from integrations.braze.erasure import scrubbing
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership
from tests.integrations.braze.connections import started
from tests.integrations.braze.fates import Sync, settle_all

ACCEPTED = verdicts.Verdict(verdicts.Outcome.ACCEPTED, verdicts.ObjectFate.DELIVERED, verdicts.Traffic.GO_ON)


def held(sandbox: SandboxServer, external_id: str = "c1") -> dict[str, Any]:
    profile = sandbox.profile(external_id)
    assert profile is not None
    return {name: value for name, value in profile["attributes"].items() if value is not None}


def at_once(settings: Any) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0


def until_nothing_waits(sandbox: SandboxServer, sync: Sync) -> None:
    """Neither here nor in Braze."""

    def is_quiet() -> bool:
        settle_all(sync)
        waits = OutboxEntry.objects.filter(status="pending").exists()
        return not waits and not sandbox.call(lambda: sandbox.state.under_way)

    wait_until(is_quiet, "all to be sent, and applied", timeout=10)


def in_an_audience(account: Account) -> Customer:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada", tags={"vip": True})
    Audience.objects.create(account=account, name="gold").customers.add(one)
    return one


# --- who was created again keeps the audiences of the deleted one ----------------------------------------


def test_one_created_again_after_a_refused_deletion_is_not_in_the_audiences_of_the_deleted_one(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    at_once(settings)
    one = in_an_audience(account)
    sync()
    one.delete()
    sandbox.faults.add(endpoint="delete", status=400)
    settle_all(sync)
    sandbox.faults.clear()
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    settle_all(sync)
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    scrubbing.work_off()
    assert "tag_vip" not in held(sandbox)
    assert "masivo_gold" not in held(sandbox)


def test_one_created_again_where_delete_was_switched_off_before_the_deletion_left(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    at_once(settings)
    one = in_an_audience(account)
    sync()
    one.delete()
    BrazeSettings.objects.update(delete_customers=False)
    settle_all(sync)
    scrubbing.work_off()
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    settle_all(sync)
    assert "tag_vip" not in held(sandbox)
    assert "masivo_gold" not in held(sandbox)


@pytest.mark.parametrize("while_off", [{"is_enabled": False}, {"sync_audiences": False, "delete_customers": False}])
def test_one_created_again_gets_rid_of_what_braze_has_of_one_deleted_while_it_was_off(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any, while_off: dict[str, Any]
) -> None:
    """docs/operations.md: the mirror keeps the names … so that a customer created again gets rid of them."""
    at_once(settings)
    one = in_an_audience(account)
    sync()
    BrazeSettings.objects.update(**while_off)
    one.delete()
    scrubbing.work_off()
    BrazeSettings.objects.update(**dict.fromkeys(while_off, True))
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    settle_all(sync)
    scrubbing.work_off()
    assert "tag_vip" not in held(sandbox)
    assert "masivo_gold" not in held(sandbox)


# --- a deletion overtakes a request of unknown outcome of a customer created again -----------------------


@pytest.mark.parametrize("was_deleted_before", [False, True])
def test_a_deletion_keeps_its_distance_from_a_request_in_doubt(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any, was_deleted_before: bool
) -> None:
    """Braze queues: what it took a moment ago may be applied after a deletion that comes at once."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    at_once(settings)
    sync()
    if was_deleted_before:
        one.delete()
        settle_all(sync)
        assert sandbox.profile("c1") is None
        one = Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    else:
        one.first_name = "Bea"
        one.save()
    settings.BRAZE_DELETE_AFTER_SECONDS = 2.0
    sandbox.faults.add(endpoint="track", close="after", reorder=1.0, times=1)
    sync()  # taken, to be applied within a second; its answer is lost
    one.delete()
    until_nothing_waits(sandbox, sync)
    assert sandbox.profile("c1") is None, "the deleted customer is in Braze, for good"


# --- what an update in doubt because of saved settings met nobody, is not sent again ---------------------


def test_updates_in_flight_while_settings_are_saved_are_sent_again_once_the_user_exists(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(create_customers=False)
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    one.city = "Cali"
    one.save()
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get()
    assert ledger.start(on_its_way.pk)
    BrazeSettings.objects.update(calls_per_window=2000)
    settlement.settle(on_its_way.pk, ACCEPTED, 201)  # Braze took it, and had no such user
    Event.objects.create(account=account, customer=one, type="LOGIN")  # now it has
    settle_all(sync)
    assert held(sandbox).get("first_name") == "Ada"


# --- spaces other than the space -------------------------------------------------------------------------


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0"])
def test_who_leaves_one_of_two_audiences_that_are_one_attribute_is_still_in_the_other(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, space: str
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    audiences = [Audience.objects.create(account=account, name=name) for name in ("gold", f"gold{space}")]
    for audience in audiences:
        audience.customers.add(one)
    sync()
    assert held(sandbox)["masivo_gold"] is True
    audiences[0].customers.remove(one)
    sync()
    assert held(sandbox).get("masivo_gold") is True


# --- stale instances -------------------------------------------------------------------------------------


def test_a_name_that_a_stale_audience_puts_back_is_sent(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = in_an_audience(account)
    sync()
    stale, fresh = Audience.objects.get(), Audience.objects.get()
    fresh.name = "silver"
    fresh.save()
    sync()
    stale.audience_id = "another"
    stale.save()
    assert Audience.objects.get().name == "gold"
    sync()
    assert one.audiences.exists()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == {"masivo_gold"}


def test_who_leaves_by_a_stale_membership_leaves(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    in_an_audience(account)
    sync()
    stale = Membership.objects.select_related("audience").get()
    fresh = Audience.objects.get()
    fresh.name = "silver"
    fresh.save()
    sync()
    stale.delete()
    sync()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == set()


# --- a deletion in doubt that is not repeated ------------------------------------------------------------


def test_one_created_again_after_a_deletion_in_doubt_waits_until_that_has_spread(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    """The deletion is taken, its answer lost, and "delete customers" switched off before it is repeated."""
    settings.BRAZE_DELETE_AFTER_SECONDS, settings.BRAZE_DELETE_SETTLES_SECONDS = 0, 2.0
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    sandbox.call(lambda: setattr(sandbox.state, "delete_delay", 1.0))  # Braze: up to five minutes
    one.delete()
    sandbox.faults.add(endpoint="delete", close="after", times=1)
    sync()
    BrazeSettings.objects.update(delete_customers=False)
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    until_nothing_waits(sandbox, sync)
    assert sandbox.profile("c1") is not None, "the customer exists, and Braze has none"


# --- who leaves while the audience is renamed ------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_who_leaves_an_audience_while_it_is_renamed_leaves_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = in_an_audience(account)
    sync()

    def rename() -> None:
        audience = Audience.objects.get()
        audience.name = "silver"
        audience.save()
        relay.relay(account.pk)
        flush.refill(account.pk)
        flush.flush(account.pk)

    with transaction.atomic():
        one.audiences.clear()
        renaming = started(rename)
        renaming.join(20)
    settle_all(sync)
    assert not Membership.objects.exists()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == set()


def test_who_leaves_an_audience_is_put_into_the_others_of_which_braze_was_not_told(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = in_an_audience(account)
    sync()
    BrazeSettings.objects.update(sync_audiences=False)
    Audience.objects.create(account=account, name="silver").customers.add(one)
    BrazeSettings.objects.update(sync_audiences=True)
    one.audiences.remove(Audience.objects.get(name="gold"))
    sync()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == {"masivo_silver"}


def test_who_joins_an_audience_while_it_is_renamed_is_in_it_by_its_new_name(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """The renaming did not see the joining, which was not committed yet, and which tells of the old name."""
    in_an_audience(account)
    audience = Audience.objects.get()
    audience.name = "silver"
    audience.save()
    OutboxEntry.objects.filter(kind="audience_renamed").delete()
    sync()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == {"masivo_silver"}


def test_who_is_in_two_audiences_that_are_one_attribute_keeps_it_where_one_of_them_is_renamed(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = in_an_audience(account)
    other = Audience.objects.create(account=account, name="gold ")
    other.customers.add(one)
    sync()
    other.name = "silver"
    other.save()
    sync()
    assert {name for name in held(sandbox) if name.startswith("masivo_")} == {"masivo_gold", "masivo_silver"}

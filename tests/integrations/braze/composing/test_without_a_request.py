"""What the relay ends, or lets wait, without a request: all of a round at once, with a reason and a time."""

import pytest

from integrations.braze.composing import compose, relay
from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse


@pytest.fixture
def people(account: Account, braze: BrazeSettings, sync: Sync) -> list[Customer]:
    """Two customers whom Braze knows."""
    made = [Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2")]
    sync()
    return made


def unsettled(status: str) -> int:
    return OutboxEntry.objects.filter(status=status, settled_at=None).count()


def test_what_is_skipped_is_skipped_in_one_round_at_its_time(account: Account, people: list[Customer]) -> None:
    for one in people:
        Event.objects.create(account=account, customer=one, type="FULFILL")
    assert relay.relay(account.pk, most_rounds=1) == 2
    assert OutboxEntry.objects.filter(status="skipped").count() == 2
    assert unsettled("skipped") == 0


def test_what_cannot_be_mapped_is_rejected_in_one_round_at_its_time(
    account: Account, people: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("of another shape")

    for one in people:
        Event.objects.create(account=account, customer=one, type="LOGIN")
    monkeypatch.setattr(compose, "bundle", broken)
    assert relay.relay(account.pk, most_rounds=1) == 2
    assert OutboxEntry.objects.filter(status="rejected").count() == 2
    assert unsettled("rejected") == 0


def test_reversals_that_wait_say_for_what_and_all_begin_to_wait_in_one_round(
    account: Account, people: list[Customer], sandbox: SandboxServer, sync: Sync
) -> None:
    orders = [fulfilled(account, one, ("CD", 10), order_id=f"o-{one.external_id}") for one in people]
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    for order in orders:
        reverse(order)
    relay.relay(account.pk, most_rounds=1)
    waiting = OutboxEntry.objects.filter(status="pending")
    assert set(waiting.values_list("customer_external_id", "parked", "error")) == {
        (one.external_id, True, "waits for the outcome of the order's purchases") for one in people
    }

"""What changes while the relay composes: the round is made anew, without what is no longer to be sent."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.composing.rounds import Composed
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import lease
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.doubts import Sync, fulfilled

Before = Callable[[Callable[[], object]], None]


@pytest.fixture
def before_the_commit(monkeypatch: pytest.MonkeyPatch) -> Before:
    """Lets something happen when a round is composed, and its commit is about to begin; once."""

    def arrange(happen: Callable[[], object]) -> None:
        left, commit = [happen], relay.commit

        def late(account_id: int, held: Any, composed: Composed) -> Any:
            if left:
                left.pop()()
            return commit(account_id, held, composed)

        monkeypatch.setattr(relay, "commit", late)

    return arrange


@pytest.fixture
def people(account: Account, braze: BrazeSettings) -> list[Customer]:
    """Two customers, each with an event and an order."""
    made = [Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2")]
    for one in made:
        Event.objects.create(account=account, customer=one, type="LOGIN")
        fulfilled(account, one, ("CD", 10), order_id=f"o-{one.external_id}")
    return made


def test_a_customer_deleted_meanwhile_is_not_sent_and_the_others_are(
    account: Account, people: list[Customer], sandbox: SandboxServer, sync: Sync, before_the_commit: Before
) -> None:
    before_the_commit(people[0].delete)
    sync()
    assert [sandbox.profile(name) is not None for name in ("c1", "c2")] == [False, True]
    assert (sandbox.summary()["events"], sandbox.summary()["purchases"]) == (1, 1)
    theirs = OutboxEntry.objects.filter(customer_external_id="c1").exclude(kind="customer_deleted")
    assert set(theirs.values_list("status", "error")) == {("skipped", "customer deleted")}


def test_nothing_is_composed_of_what_was_read_for_a_relay_that_lost_its_lease(
    account: Account, people: list[Customer], before_the_commit: Before
) -> None:
    before_the_commit(lambda: lease.revoke(account.pk, "braze"))
    assert relay.relay(account.pk) == 0
    assert not Delivery.objects.exists() and not BrazePurchase.objects.exists()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"pending"}

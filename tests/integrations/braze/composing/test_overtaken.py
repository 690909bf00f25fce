"""What changes while the relay composes: the round is made anew, without what is no longer to be sent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.braze.composing import records, relay, waiting
from integrations.braze.composing.rounds import Composed
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import lease
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync, forget_backoff, settle_all
from tests.integrations.braze.orders import fulfilled

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


@pytest.mark.parametrize(
    "meanwhile", [{"fate": "delivered"}, {"error": "a doubt"}, {"settled_at": datetime(2026, 3, 1, tzinfo=UTC)}]
)
def test_a_purchase_that_never_left_and_meanwhile_may_have_is_not_made_anew(
    account: Account,
    people: list[Customer],
    sandbox: SandboxServer,
    sync: Sync,
    before_the_commit: Before,
    meanwhile: dict[str, Any],
) -> None:
    sandbox.faults.add(status=503, times=1)
    sync()
    mine = BrazePurchase.objects.filter(order_id="o-c1")
    made = mine.get()
    before_the_commit(lambda: mine.update(**meanwhile))
    settle_all(sync)
    assert mine.get().pk == made.pk
    assert sandbox.summary()["purchases"] == (1 if "fate" in meanwhile else 2)


def test_what_never_left_is_made_anew_beside_what_waits_of_another_customer(
    people: list[Customer], sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=503, times=1)
    sync()
    theirs = OutboxEntry.objects.filter(customer_external_id="c2")
    theirs.update(due_at=database_now() + timedelta(minutes=1))
    settle_all(sync)
    fates = dict(BrazePurchase.objects.values_list("order_id", "fate"))
    assert fates == {"o-c1": "delivered", "o-c2": "pending"}


def test_nothing_is_composed_of_what_was_read_for_a_relay_that_lost_its_lease(
    account: Account, people: list[Customer], before_the_commit: Before
) -> None:
    before_the_commit(lambda: lease.revoke(account.pk, "braze"))
    assert relay.relay(account.pk) == 0
    assert not Delivery.objects.exists() and not BrazePurchase.objects.exists()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"pending"}


def test_a_reversal_parked_just_as_its_sale_is_resolved_is_woken(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    sync()
    forget_backoff()
    order.status = "REVERSED"
    order.save()
    load = records.load

    def load_and_resolve(*arguments: Any) -> Any:
        loaded = load(*arguments)
        monkeypatch.setattr(records, "load", load)
        resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
        return loaded

    monkeypatch.setattr(records, "load", load_and_resolve)
    settle_all(sync, 2)
    OutboxEntry.objects.filter(parked=True).update(due_at=database_now() - waiting.PARKED)
    settle_all(sync, 2)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}

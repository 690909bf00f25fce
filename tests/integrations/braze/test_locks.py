"""A merchant's transaction and an operator's save are ended by no deadlock: on PostgreSQL, where two go on at once.

Whoever locks several rows locks them in the order of their ids. A transaction that deletes several customers cannot: so
what works in the background waits for nobody while it has locked something.
"""

from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest
from django.db import connection, transaction

from dev.waiting import wait_until
from integrations.braze.account import activation
from integrations.braze.composing import relay
from integrations.braze.delivery import ledger, settlement, silent, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.erasure import payloads, retention
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import resolution
from integrations.outbox import sweep
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import started, waiting
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def beside_us(failures: list[BaseException]) -> Callable[[Callable[[], object]], Thread]:
    """Starts something on another connection, and keeps what it raises."""

    def start(function: Callable[[], object]) -> Thread:
        def run() -> None:
            try:
                function()
            except Exception as error:
                failures.append(error)

        return started(run)

    return start


Beside = Callable[[Callable[[], object]], Thread]


def goes_on(thread: Thread) -> bool:
    """Whether it ends although we keep our locks."""
    thread.join(10)
    return not thread.is_alive()


def without_indexes() -> None:
    """The database goes through rows as they lie in the table, as it may choose to in larger ones."""
    with connection.cursor() as cursor:
        cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off")


# --- in the order of ids --------------------------------------------------------------------------------


def test_a_deletion_and_a_decision_lock_a_customers_changes_in_one_order(
    account: Account, braze: BrazeSettings, beside_us: Beside, failures: list[BaseException]
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    first, between, last = (
        OutboxEntry.objects.create(
            account=account, integration="braze", kind="event", customer_external_id=customer, subject=""
        )
        for customer in ("c1", "c2", "c1")
    )
    for each in (last, between, first):  # as they lie in the table, from now on
        OutboxEntry.objects.filter(pk=each.pk).update(status="unknown", error="?")
    chosen = OutboxEntry.objects.filter(status="unknown")

    def delete() -> None:
        without_indexes()
        Customer.objects.get(pk=one.pk).delete()

    with transaction.atomic():
        list(OutboxEntry.objects.filter(pk=between.pk).select_for_update())
        decision = beside_us(lambda: resolution.discard(chosen, by="ada", reason="no"))
        wait_until(lambda: waiting() == 1, "the decision")
        deletion = beside_us(delete)
        wait_until(lambda: waiting() == 2, "the deletion")
    decision.join()
    deletion.join()
    assert failures == []


def test_another_workspace_forgets_the_mirror_in_the_order_in_which_others_lock_it(
    account: Account, braze: BrazeSettings, beside_us: Beside, failures: list[BaseException]
) -> None:
    first, between, last = (BrazeProfile.objects.create(account=account, external_id=name) for name in "xya")
    for each in (first, between):  # behind the last one, as they lie in the table, from now on
        BrazeProfile.objects.filter(pk=each.pk).update(attributes={"a": 1})

    def forget() -> None:
        without_indexes()
        activation.forget_mirror(account.pk)

    @transaction.atomic
    def lock_all() -> None:
        list(BrazeProfile.objects.order_by("pk").select_for_update())

    with transaction.atomic():
        list(BrazeProfile.objects.filter(pk=between.pk).select_for_update())
        other = beside_us(lock_all)
        wait_until(lambda: waiting() == 1, "the other")
        forgetting = beside_us(forget)
        wait_until(lambda: waiting() == 2, "the mirror to be forgotten")
    other.join()
    forgetting.join()
    assert failures == []
    assert last and not BrazeProfile.objects.exists()


# --- in the background ----------------------------------------------------------------------------------


@pytest.fixture
def parked(account: Account, braze: BrazeSettings) -> tuple[list[Customer], Delivery]:
    """Two customers with a parked reversal each, and the request on its way that has the sales of both."""
    customers = [Customer.objects.create(account=account, external_id=f"c{number}") for number in range(2)]
    orders = [fulfilled(account, one, ("CD", 10), order_id=f"o-{one.external_id}") for one in customers]
    relay.relay(account.pk)
    for order in orders:
        reverse(order)
    reversals = OutboxEntry.objects.filter(status="pending", kind="order")
    due_at = database_now() + timedelta(seconds=60)
    assert reversals.update(parked=True, due_at=due_at, error="waits for its sale") == 2
    request = Delivery.objects.get(finished_at=None)
    assert ledger.start(request.pk)
    return customers, request


def accept(request: Delivery) -> None:
    verdict = verdicts.of_answer(Answer(201, b'{"message": "success"}'), "")
    settlement.settle(request.pk, verdict, 201)


def still_parked() -> list[str]:
    return list(OutboxEntry.objects.filter(parked=True).values_list("customer_external_id", flat=True))


def test_a_settlement_does_not_wait_for_whoever_deletes_several_customers(
    parked: tuple[list[Customer], Delivery], beside_us: Beside, failures: list[BaseException]
) -> None:
    (first, second), request = parked
    with transaction.atomic():
        second.delete()
        settling = beside_us(lambda: accept(request))
        assert goes_on(settling)
        first.delete()
    assert failures == []
    assert not OutboxEntry.objects.filter(status="pending", kind="order").exists()


def test_a_reversal_that_was_locked_when_its_sale_was_settled_is_composed_when_it_is_due(
    account: Account, parked: tuple[list[Customer], Delivery], beside_us: Beside, sync: Sync
) -> None:
    (_, second), request = parked
    with transaction.atomic():
        second.delete()
        assert goes_on(beside_us(lambda: accept(request)))
        transaction.set_rollback(True)
    assert still_parked() == ["c1"]
    settle_all(sync)
    assert still_parked() == ["c1"]
    OutboxEntry.objects.filter(parked=True).update(due_at=database_now())
    assert sweep.sweep() == [account.pk]
    settle_all(sync)
    assert BrazePurchase.objects.filter(is_reversal=True, fate="delivered").count() == 2
    assert still_parked() == []


@pytest.mark.usefixtures("change")
def test_what_is_done_after_silent_requests_were_settled_waits_for_locks_as_ever(account: Account) -> None:
    """These are settled without waiting: whatever came next on the connection failed where it had to wait a moment."""
    relay.relay(account.pk)
    assert ledger.start(Delivery.objects.get().pk)
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    silent.settle()
    assert Delivery.objects.get().outcome == "unknown"
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


@pytest.mark.parametrize("is_too_soon", [False, True])
def test_a_relay_does_not_wait_for_whoever_deletes_a_customer_and_takes_the_others(
    account: Account,
    braze: BrazeSettings,
    sync: Sync,
    beside_us: Beside,
    failures: list[BaseException],
    is_too_soon: bool,
) -> None:
    """Nor where the customer would have to wait because of a change a moment ago."""
    first, second = (Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2"))
    if is_too_soon:
        sync()
        BrazeSettings.objects.update(attribute_gap_seconds=60)
        Customer.objects.filter(pk=second.pk).update(first_name="Bea")
        BrazeProfile.objects.filter(external_id="c2").update(
            attributes={}, recent={"first_name": database_now().timestamp()}
        )
    for one in (first, second):
        fulfilled(account, one, ("CD", 10), order_id=f"o-{one.external_id}")
    with transaction.atomic():
        second.delete()
        assert goes_on(beside_us(lambda: relay.relay(account.pk)))
        transaction.set_rollback(True)
    assert failures == []
    assert {line["customer"] for line in Delivery.objects.get(finished_at=None).manifest["purchases"]} == {"c1"}
    assert not BrazePurchase.objects.filter(customer_external_id="c2").exists()
    theirs = OutboxEntry.objects.filter(customer_external_id="c2", kind="order")
    assert set(theirs.values_list("status", "due_at")) == {("pending", None)}
    BrazeSettings.objects.update(attribute_gap_seconds=0)
    settle_all(sync)
    assert not OutboxEntry.objects.filter(status="pending").exists()
    assert BrazePurchase.objects.filter(fate="delivered").count() == 2


@pytest.mark.parametrize("clean", [retention.purge, payloads.forget_old])
def test_what_is_removed_by_age_waits_for_nobodys_lock(
    account: Account, clean: Callable[[], int], beside_us: Beside, failures: list[BaseException]
) -> None:
    old = database_now() - timedelta(days=400)
    for _ in range(3):
        Delivery.objects.create(account=account, endpoint="track", finished_at=old, body=b"x", outcome="accepted")
        OutboxEntry.objects.create(
            account=account, integration="braze", kind="event", customer_external_id="c1", status="delivered",
            settled_at=old,
        )  # fmt: skip
    locked = Delivery.objects.order_by("created_at")[1:2].get()
    with transaction.atomic():
        list(Delivery.objects.filter(pk=locked.pk).select_for_update())
        assert goes_on(beside_us(clean))
    assert failures == []
    assert list(Delivery.objects.exclude(body=b"")) == [locked]
    assert clean() == 1


def test_a_purge_goes_on_where_all_of_its_first_batch_is_locked(
    account: Account, braze: BrazeSettings, beside_us: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    old = database_now() - timedelta(days=400)
    for _ in range(3):
        OutboxEntry.objects.create(
            account=account, integration="braze", kind="customer_updated", customer_external_id="c1",
            status="delivered", settled_at=old,
        )  # fmt: skip
    first = OutboxEntry.objects.order_by("pk")[:1].get()
    with transaction.atomic():
        list(OutboxEntry.objects.filter(pk=first.pk).select_for_update())
        assert goes_on(beside_us(retention.purge))
        assert list(OutboxEntry.objects.all()) == [first]


def test_a_purge_that_waits_for_the_state_of_one_account_holds_up_no_other(
    account: Account, braze: BrazeSettings, beside_us: Beside
) -> None:
    other = Account.objects.create(name="Other", slug="other")
    BrazeSettings.objects.create(account=other)
    for each in (account, other):
        OutboxEntry.objects.create(
            account=each, integration="braze", kind="event", customer_external_id="c1", status="delivered",
            settled_at=database_now() - timedelta(days=400),
        )  # fmt: skip
    first, last = BrazeState.objects.order_by("pk")
    with transaction.atomic():
        list(BrazeState.objects.filter(pk=last.pk).select_for_update())
        purging = beside_us(retention.purge)
        wait_until(waiting, "the purge")
        assert BrazeState.objects.filter(pk=first.pk).select_for_update(skip_locked=True).exists()
    purging.join()
    assert not BrazeState.objects.filter(purged_at=None).exists()

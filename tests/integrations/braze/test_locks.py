"""A merchant's transaction and an operator's save are ended by no deadlock: on PostgreSQL, where two go on at once.

Whoever locks several rows locks them in the order of their ids.
"""

from collections.abc import Callable
from threading import Thread

import pytest
from django.db import connection, transaction

from dev.waiting import wait_until
from integrations.braze.account import activation
from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.braze.recovery import resolution
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.doubts import started, waiting

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

"""What waits until a moment does not wait for an hour longer because the database's clock was set back by that.

How long it has waited is not known then: where too short a wait would do harm, it waits once more, from the beginning.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F, Max

from integrations.braze import tasks
from integrations.braze.models import Backfill, BrazeSettings, Notice
from integrations.braze.recovery import backfill, drain
from integrations.braze.reporting import notices
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts
from tests.integrations.braze.orders import fulfilled, reverse
from tests.integrations.braze.test_clocks import Sync, set_back


def waits_for() -> float:
    """Seconds that the last of the waiting changes still has to wait; 0 if none waits."""
    due_at = OutboxEntry.objects.filter(status="pending").aggregate(at=Max("due_at"))["at"]
    return (due_at - database_now()).total_seconds() if due_at else 0.0


def time_passes(seconds: float) -> None:
    """For what waits in the outbox."""
    OutboxEntry.objects.filter(status="pending").update(due_at=F("due_at") - timedelta(seconds=seconds))


@pytest.fixture
def deleted(account: Account, braze: BrazeSettings, sync: Sync) -> Customer:
    """A customer whose deletion waits for some seconds, as their last request was just before."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    one.delete()
    sync()
    assert 0 < waits_for() < 6
    return one


@pytest.fixture
def created_again(account: Account, braze: BrazeSettings, sync: Sync, settings: Any) -> Customer:
    """A customer who waits for minutes, until Braze has deleted the one before everywhere."""
    settings.BRAZE_DELETE_AFTER_SECONDS = 0.0
    Customer.objects.create(account=account, external_id="c1").delete()
    Customer.objects.create(account=account, external_id="c2", first_name="Ada")
    sync()
    Customer.objects.get().delete()
    sync()
    one = Customer.objects.create(account=account, external_id="c2", first_name="Grace")
    sync()
    assert 290 < waits_for() <= 300
    return one


def test_a_deletion_waits_once_more_and_then_leaves(deleted: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    """A request of the customer may have left just before the clock was set back."""
    set_back()
    tasks.wake()
    sync()
    assert 0 < waits_for() < 6
    assert sandbox.summary()["profiles"] == 1
    time_passes(6)
    sync()
    assert counts() == {"delivered": 2}
    assert sandbox.summary()["profiles"] == 0


def test_a_deletion_that_comes_later_waits_no_longer_than_others(
    account: Account, braze: BrazeSettings, sync: Sync
) -> None:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    set_back()
    one.delete()
    sync()
    assert 0 < waits_for() < 6


def test_a_customer_created_again_waits_once_more_and_is_then_sent(
    created_again: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Braze may have deleted the one before just before the clock was set back, and would delete this one, too."""
    set_back()
    tasks.wake()
    sync()
    assert 290 < waits_for() <= 300
    created_again.first_name = "Grace Brewster"
    created_again.save()
    time_passes(301)
    sync()
    assert "pending" not in counts()
    assert sandbox.summary()["profiles"] == 1


def test_what_waits_for_a_usual_time_is_not_woken(deleted: Customer) -> None:
    before = waits_for()
    tasks.wake()
    assert before - 5 < waits_for() <= before


def test_what_waits_for_another_record_is_looked_at_again(account: Account, change: Customer, sync: Sync) -> None:
    """Each minute it is, in case that nobody told it that what it waits for has ended."""
    order = fulfilled(account, change, ("CD", 1), order_id="o2")
    sync()
    reverse(order)
    parked = OutboxEntry.objects.filter(status="pending")
    parked.update(parked=True, error="waits for its sale", due_at=database_now() + timedelta(minutes=1))
    set_back()
    tasks.wake()
    sync()
    assert "pending" not in counts()


def test_drain_does_not_take_it_for_what_waits_by_rule(deleted: Customer, account: Account, settings: Any) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0.0
    set_back()
    left = drain.drain([account.pk], 10)[account.pk]
    assert (left.moving, left.waiting) == (0, 0)


def test_a_backfill_that_a_dead_worker_left_goes_on(change: Customer, account: Account) -> None:
    backfill.begin(account.pk)
    set_back()
    assert backfill.left_alone() == [account.pk]
    Backfill.objects.update(moved_at=database_now())
    assert backfill.left_alone() == []


def test_a_mail_is_tried_again(account: Account) -> None:
    now = database_now()
    notice = Notice.objects.create(account=account, topic="rejected", cause="2026-01-01", tries=1, tried_at=now)
    assert notices.due() == []
    set_back()
    assert notices.due() == [notice.pk]

"""A deletion keeps its distance from what left before it, and waits no longer than that."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone as django_timezone

from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger, settlement, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync, forget_backoff, settle_all
from tests.integrations.braze.orders import fulfilled, reverse


@pytest.mark.parametrize("how", ["more lines than a request holds", "sent again by a person"])
def test_a_deletion_keeps_its_distance_from_the_first_part_of_an_order(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, how: str
) -> None:
    """Part of the order was accepted a moment ago, and its entry is pending again."""
    one = Customer.objects.create(account=account, external_id="c1")
    sync()
    BrazeProfile.objects.update(last_accepted_at=database_now() - timedelta(hours=1))
    OutboxEntry.objects.update(settled_at=database_now() - timedelta(hours=1))
    if how == "sent again by a person":
        sandbox.faults.add(status=400, contains="POISON")
        fulfilled(account, one, ("CD", 1), ("POISON", 2))
        sync()
        resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    else:
        fulfilled(account, one, *((f"CD{number}", 1) for number in range(80)))
        relay.relay(account.pk)
        flush.refill(account.pk)
        flush.flush(account.pk)
    assert sandbox.summary()["purchases"] in (1, 75)
    assert BrazePurchase.objects.filter(fate="delivered").exists()
    one.delete()
    relay.relay(account.pk)
    deletion = OutboxEntry.objects.get(kind="customer_deleted")
    assert (deletion.status, deletion.due_at is not None) == ("pending", True)


@pytest.mark.parametrize("is_created_again", [False, True])
def test_a_deletion_keeps_its_distance_from_an_event_of_a_known_user(
    account: Account, braze: BrazeSettings, sync: Sync, is_created_again: bool
) -> None:
    """Of which the mirror was not told."""
    one = Customer.objects.create(account=account, external_id="c1")
    sync()
    BrazeProfile.objects.update(last_accepted_at=database_now() - timedelta(hours=1))
    OutboxEntry.objects.update(settled_at=database_now() - timedelta(hours=1))
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    one.delete()
    if is_created_again:
        Customer.objects.create(account=account, external_id="c1")
    relay.relay(account.pk)
    deletion = OutboxEntry.objects.get(kind="customer_deleted")
    assert (deletion.status, deletion.due_at is not None) == ("pending", True)


def test_a_shop_whose_clock_is_ahead_does_not_hold_back_a_deletion(
    account: Account, braze, sandbox: SandboxServer, sync
) -> None:
    """What was refused is skipped by the deletion, dated by the shop's clock, and taken for Braze's last answer."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    Event.objects.create(account=account, customer=one, type="REFUSED")
    sandbox.faults.add(status=400, contains='"REFUSED"', times=5)
    sync()
    assert OutboxEntry.objects.get(kind="event").status == "rejected"
    with time_machine.travel(django_timezone.now() + timedelta(hours=1)):
        one.delete()
    relay.relay(account.pk)
    due = OutboxEntry.objects.get(kind="customer_deleted").due_at
    assert due is None or due < database_now() + timedelta(minutes=1)


def test_a_reversal_that_comes_back_after_its_customer_was_deleted_is_not_sent(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    """It was on its way when the customer was deleted, needs no order, and Braze would create the customer anew."""
    settings.BRAZE_DELETE_AFTER_SECONDS = 0.0
    one = Customer.objects.create(account=account, external_id="c1")
    order = fulfilled(account, one, ("CD", 10))
    sync()
    reverse(order)
    relay.relay(account.pk)
    request = Delivery.objects.get(finished_at=None)
    assert ledger.start(request.pk)
    one.delete()
    settlement.settle(request.pk, verdicts.of_answer(Answer(503, b""), ""), 503)
    reversal = OutboxEntry.objects.filter(kind="order").latest("pk")
    assert reversal.status == "pending"
    settle_all(sync)
    reversal.refresh_from_db()
    assert (reversal.status, reversal.error) == ("skipped", "customer deleted")
    assert OutboxEntry.objects.get(kind="customer_deleted").status == "delivered"
    assert (sandbox.profile("c1"), sandbox.summary()["purchases"]) == (None, 1)


def test_what_is_ready_of_a_deleted_customer_is_taken_back_and_nothing_of_the_others(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0.0
    people = [Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2")]
    sync()
    for one in people:
        Event.objects.create(account=account, customer=one, type="LOGIN")
        relay.relay(account.pk)
    theirs, others = Delivery.objects.filter(started_at=None).order_by("created_at")
    Event.objects.create(account=account, customer=people[1], type="LOGOUT")
    people[0].delete()
    relay.relay(account.pk)
    ended = dict(Delivery.objects.filter(pk__in=[theirs.pk, others.pk]).values_list("pk", "outcome"))
    assert ended == {theirs.pk: "dissolved", others.pk: ""}
    settle_all(sync)
    sent = [entry["object"] for entry in sandbox.journal() if entry["kind"] == "event"]
    assert [(event["external_id"], event["name"]) for event in sent] == [("c2", "LOGIN"), ("c2", "LOGOUT")]


def test_a_deletion_keeps_its_distance_from_a_request_that_may_have_arrived(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(close="after", times=1)
    sync()
    one.delete()
    forget_backoff()
    relay.relay(account.pk)
    entry = OutboxEntry.objects.get(kind="customer_deleted")
    assert entry.status == "pending"
    assert entry.due_at is not None


def test_a_deletion_keeps_its_distance_from_the_customers_last_request(one: Customer, sync: Sync) -> None:
    sync()
    one.delete()
    sync()
    deletion = OutboxEntry.objects.get(kind="customer_deleted")
    assert deletion.status == "pending"
    assert deletion.due_at is not None

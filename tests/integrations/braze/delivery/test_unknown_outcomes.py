"""Outcomes that cannot be known: state is sent again, events and purchases follow the policy of the account."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pytest_django import Settings

from integrations.braze.composing import records, relay
from integrations.braze.console import search, timeline
from integrations.braze.delivery import ledger, settlement, silent, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.fates import counts, forget_backoff, settle_all
from tests.integrations.braze.orders import fulfilled

Sync = Callable[[], None]


def test_an_unknown_purchase_is_held_and_an_event_sent_again(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(close="after", times=1)
    sync()
    assert Delivery.objects.get().outcome == "unknown"
    forget_backoff()
    sync()
    ends = dict(OutboxEntry.objects.values_list("kind", "status"))
    assert ends == {"customer_created": "delivered", "event": "delivered", "order": "unknown", "order_line": "unknown"}
    summary = sandbox.summary()
    assert summary["revenue"] == {"USD": "29.33"}
    assert summary["duplicates"] == {"event_id": 1, "purchase_id": 0}


def test_the_policies_can_be_the_other_way_round(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(unknown_events="hold", unknown_purchases="resend")
    sandbox.faults.add(status=504, times=1)
    sync()
    forget_backoff()
    sync()
    ends = dict(OutboxEntry.objects.values_list("kind", "status"))
    assert ends == {
        "customer_created": "delivered",
        "event": "unknown",
        "order": "delivered",
        "order_line": "delivered",
    }
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}


def test_attributes_of_unknown_outcome_differ_from_anything(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """A → B → A while B is on its way ends as A in Braze."""
    sync()
    change.first_name = "Bea"
    change.save()
    sandbox.faults.add(close="after", times=1)
    sync()
    change.first_name = "Ada"
    change.save()
    forget_backoff()
    sync()
    assert sandbox.profile("c1")["standard_attributes"]["first_name"] == "Ada"


def test_a_deletion_of_unknown_outcome_is_sent_again_whatever_the_policies_are(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, settings: Settings
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    BrazeSettings.objects.update(unknown_events="hold", unknown_purchases="hold")
    sync()
    change.delete()
    sandbox.faults.add(endpoint="delete", close="before", times=1)
    sync()
    assert OutboxEntry.objects.get(kind="customer_deleted").status == "pending"
    assert sandbox.profile("c1") is not None
    forget_backoff()
    sync()
    assert OutboxEntry.objects.get(kind="customer_deleted").status == "delivered"
    assert sandbox.profile("c1") is None


@pytest.mark.parametrize("fault", [{"truncate": True}, {"status": 504}, {"close": "before"}])
def test_no_clear_answer_means_unknown(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, fault: dict[str, Any]
) -> None:
    sandbox.faults.add(times=1, **fault)
    sync()
    assert Delivery.objects.get().outcome == "unknown"
    assert counts()["unknown"] == 2


def test_a_sender_that_died_leaves_an_unknown_outcome_once_its_time_is_up(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    assert ledger.start(delivery.pk)
    silent.settle()
    assert Delivery.objects.get().finished_at is None
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    silent.settle()
    assert Delivery.objects.get().outcome == "unknown"
    assert counts() == {"pending": 2, "unknown": 2}
    assert ledger.silent() == []


def sent_again_by_policy() -> None:
    BrazeSettings.objects.update(unknown_purchases="resend")


def sent_again_by_a_person() -> None:
    resolution.send_again(OutboxEntry.objects.all())


@pytest.mark.parametrize("send_again", [sent_again_by_policy, sent_again_by_a_person])
@pytest.mark.parametrize("fault", [{"close": "after"}, {"status": 504, "apply": True, "message": ""}])
def test_a_purchase_that_may_have_arrived_stays_in_the_books_when_its_customer_is_deleted(
    account: Account,
    change: Customer,
    sandbox: SandboxServer,
    sync: Sync,
    settings: Settings,
    send_again: Callable[[], None],
    fault: dict[str, Any],
) -> None:
    """Sent again, it was pending, and so was taken for one that had never left."""
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    sandbox.faults.add(**fault, times=1)
    if send_again is sent_again_by_policy:
        send_again()
    sync()
    send_again()
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"pending"}
    change.delete()
    forget_backoff()
    sync()
    assert sandbox.summary()["purchases"] == 2
    assert list(BrazePurchase.objects.values_list("fate", flat=True)) == ["unknown", "unknown"]
    assert "unknown" not in counts()
    assert accounting.check(account.pk) == []


@pytest.mark.parametrize("fault", [{"close": "after"}, {"status": 503}])
def test_a_purchase_that_may_have_arrived_is_not_skipped_in_silence(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, fault: dict[str, Any]
) -> None:
    """Switched off before it could be sent again: somebody has to look, and a reversal can still negate it."""
    sent_again_by_policy()
    sandbox.faults.add(**fault, times=1)
    sync()
    BrazeSettings.objects.update(sync_purchases=False)
    forget_backoff()
    sync()
    of_order = OutboxEntry.objects.filter(kind__in=records.ORDER_KINDS)
    is_sure = fault == {"status": 503}
    assert set(of_order.values_list("status", flat=True)) == ({"skipped"} if is_sure else {"unknown"})
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == ({"pending"} if is_sure else {"unknown"})
    assert accounting.check(account.pk) == []
    BrazeSettings.objects.update(sync_purchases=True)
    resolution.treat_as_delivered(of_order, by="ada")
    order = Order.objects.get()
    order.status = "REVERSED"
    order.save()
    sync()
    assert sandbox.summary()["revenue"] == ({} if is_sure else {"USD": "0.00"})
    assert accounting.check(account.pk) == []


@pytest.mark.parametrize("send_again", [sent_again_by_policy, sent_again_by_a_person])
@pytest.mark.parametrize("fault", [{"close": "after"}, {"status": 503}])
def test_an_event_that_may_have_arrived_is_not_skipped_in_silence(
    account: Account,
    change: Customer,
    sandbox: SandboxServer,
    sync: Sync,
    send_again: Callable[[], None],
    fault: dict[str, Any],
) -> None:
    """Switched off before it could be sent again, it may be in Braze nevertheless: somebody has to look."""
    if send_again is sent_again_by_a_person:
        BrazeSettings.objects.update(unknown_events="hold")
    sandbox.faults.add(**fault, times=1)
    sync()
    send_again()
    BrazeSettings.objects.update(sync_events=False)
    forget_backoff()
    sync()
    event = OutboxEntry.objects.get(kind="event")
    expected = ("unknown", "The connection broke before Braze's answer was complete: ConnectionError")
    assert (event.status, event.error) == (
        ("skipped", "Events is switched off") if fault == {"status": 503} else expected
    )
    assert accounting.check(account.pk) == []


def test_an_event_that_was_in_doubt_and_is_accepted_leaves_no_reason_behind(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(close="after", times=1)
    sync()
    event = OutboxEntry.objects.get(kind="event")
    assert (event.status, event.error != "") == ("pending", True)
    assert "to be sent again though it may have arrived" in _words_of(event)
    forget_backoff()
    sync()
    event.refresh_from_db()
    assert (event.status, event.error) == ("delivered", "")


def _words_of(entry: OutboxEntry) -> str:
    """As the customer's page says it."""
    changes = timeline.of(search.event(entry.account, entry.customer_external_id, entry.subject)).changes
    return " ".join(step.words for change in changes for step in change.steps)


def test_an_event_s_doubt_is_no_reason_of_anything_else_in_its_request(
    account: Account, change: Customer, sandbox: SandboxServer
) -> None:
    """Braze names a purchase that it refuses, and refuses an event without naming it."""
    relay.relay(account.pk)
    request = Delivery.objects.get()
    ledger.start(request.pk)
    errors = [{"type": "a bad price", "input_array": "purchases", "index": 0}, {"type": "?", "input_array": "events"}]
    body = orjson.dumps({"message": "success", "errors": errors})
    settlement.settle(request.pk, verdicts.of_answer(Answer(201, body), ""), 201)
    order = OutboxEntry.objects.filter(kind__startswith="order", status="rejected")
    assert set(order.values_list("error", flat=True)) == {"a bad price"}
    event = OutboxEntry.objects.get(kind="event")
    assert event.status == "pending"
    assert event.error.startswith("{"), "Braze's answer as a whole"


def test_what_a_deletion_overtook_in_flight_leaves_nothing_open(
    account: Account, one: Customer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    fulfilled(account, one, ("CD", 10))
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    ledger.start(delivery.pk)
    one.delete()
    settlement.settle(delivery.pk, verdicts.silent())
    settle_all(sync)
    assert not OutboxEntry.objects.filter(status="unknown").exists()


def test_the_worst_fate_is_not_hidden_by_a_later_lesser_one(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one)
    OrderLine.objects.bulk_create(OrderLine(order=order, sku=f"S{n}", quantity=1, value=1) for n in range(80))
    OutboxEntry.objects.filter(kind="order_line").delete()
    sandbox.faults.add(close="after", times=1)
    sync()
    sandbox.faults.add(status=400, contains='"S79"')
    settle_all(sync, 10)
    assert OutboxEntry.objects.get(kind="order").status == "unknown"

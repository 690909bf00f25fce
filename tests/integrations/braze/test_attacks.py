"""Regressions: ways in which delivery was once broken by reasoning about it."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from integrations.braze.composing import records, relay, waiting
from integrations.braze.delivery import client, commits, flush, ledger, settlement, verdicts
from integrations.braze.erasure import retention
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery, Outcome
from integrations.braze.recovery import backfill, resolution, restored
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.integrations.braze.recovery.test_restored import lost_afterwards

Sync = Callable[[], None]


def forget_backoff() -> None:
    BrazeState.objects.update(backoff_until=None)


def settle_all(sync: Sync, times: int = 6) -> None:
    for _ in range(times):
        forget_backoff()
        sync()


@pytest.fixture
def one(account: Account, braze: BrazeSettings) -> Customer:
    return Customer.objects.create(account=account, external_id="c1", first_name="Ada")


def fulfilled(account: Account, of: Customer, *lines: tuple[str, object]) -> Order:
    made = Order.objects.create(account=account, customer=of, order_id="o1", status="FULFILLED")
    for sku, value in lines:
        OrderLine.objects.create(order=made, sku=sku, quantity=1, value=value)
    return made


def test_a_record_that_cannot_be_mapped_stops_nobody_else(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sync()
    order.status = "REVERSED"
    order.save()
    BrazePurchase.objects.update(properties=["of another shape"])
    Customer.objects.create(account=account, external_id="innocent")
    sync()
    assert sandbox.profile("innocent") is not None
    assert OutboxEntry.objects.filter(status="rejected", error__contains="cannot be mapped").exists()


def test_an_amount_that_no_database_holds_exactly_is_refused_at_the_entrance(account: Account, one: Customer) -> None:
    with pytest.raises(ValidationError, match="Amounts are below"):
        fulfilled(account, one, ("CD", Decimal("999999999999999.999")))


def test_a_refused_sale_retried_after_the_reversal_leaves_no_revenue(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("GOOD", 10), ("BAD", 5))
    sandbox.faults.add(status=400, contains='"BAD"')
    settle_all(sync)
    sandbox.faults.clear()
    order.status = "REVERSED"
    order.save()
    settle_all(sync)
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}


def test_orders_of_a_customer_created_again_are_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    fulfilled(account, one, ("CD", 10))
    relay.relay(account.pk)
    one.delete()
    sync()
    fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    settle_all(sync, 3)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


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


@pytest.mark.parametrize("end", ["split", "give back"])
def test_a_toggle_switched_off_meanwhile_counts_for_a_request_that_comes_back(
    account: Account, braze: BrazeSettings, one: Customer, sandbox: SandboxServer, sync: Sync, end: str
) -> None:
    for customer in (one, Customer.objects.create(account=account, external_id="c2")):
        Event.objects.create(account=account, customer=customer, type="LOGIN")
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    assert ledger.start(delivery.pk)
    BrazeSettings.objects.update(sync_events=False)
    if end == "split":
        refused = verdicts.Verdict(Outcome.REFUSED, verdicts.ObjectFate.RETRY, verdicts.Traffic.SPLIT)
        settlement.settle(delivery.pk, refused, 400)
    else:
        ledger.give_back([delivery.pk])
    settle_all(sync, 3)
    assert sandbox.summary()["events"] == 0
    assert sandbox.summary()["profiles"] == 2


def test_a_deleted_customer_is_not_made_a_user_by_leaving_an_audience(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(delete_customers=False)
    Audience.objects.create(account=account, name="vip").customers.add(one)
    one.delete()
    sync()
    assert sandbox.profile("c1") is None


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
    settle_all(sync, 3)
    assert not OutboxEntry.objects.filter(status="unknown").exists()


def test_an_error_that_names_nothing_is_not_sent_again_at_once(
    account: Account, one: Customer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    Event.objects.create(account=account, customer=one, type="LOGIN")
    posts = []

    def post(*arguments: Any) -> client.Answer:
        posts.append(arguments)
        return client.Answer(201, b'{"message":"success","errors":["Some warning"]}')

    monkeypatch.setattr(client, "post", post)
    sync()
    assert len(posts) == 1


def test_a_success_on_its_way_does_not_end_a_wait_that_braze_asked_for(account: Account, braze: BrazeSettings) -> None:
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    first, second = Delivery.objects.order_by("created_at")
    ledger.start(first.pk)
    ledger.start(second.pk)
    wait = verdicts.Verdict(Outcome.RETRY, verdicts.ObjectFate.RETRY, verdicts.Traffic.WAIT, "429", 600.0)
    settlement.settle(first.pk, wait, 429)
    success = verdicts.Verdict(Outcome.ACCEPTED, verdicts.ObjectFate.DELIVERED, verdicts.Traffic.GO_ON)
    settlement.settle(second.pk, success, 201)
    assert BrazeState.objects.get().backoff_until is not None


@pytest.mark.parametrize("later", [verdicts.Traffic.WAIT, verdicts.Traffic.BACK_OFF])
def test_an_answer_on_its_way_does_not_shorten_a_wait_that_braze_asked_for(
    account: Account, braze: BrazeSettings, later: verdicts.Traffic
) -> None:
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    answers = []
    for traffic, seconds in ((verdicts.Traffic.WAIT, 600.0), (later, 1.0)):
        delivery = Delivery.objects.filter(started_at=None).order_by("created_at")[0]
        ledger.start(delivery.pk)
        verdict = verdicts.Verdict(Outcome.RETRY, verdicts.ObjectFate.RETRY, traffic, "busy", seconds)
        answers.append(settlement.Answered(delivery.pk, verdict))
    before = database_now()
    settlement.settle_all(account.pk, answers)
    until = BrazeState.objects.get().backoff_until
    assert until is not None
    assert until >= before + timedelta(seconds=600)


def test_another_workspace_starts_with_an_empty_mirror(
    account: Account, braze: BrazeSettings, one: Customer, sync: Sync, sandbox: SandboxServer, settings: Any
) -> None:
    sync()
    with SandboxServer() as other:
        settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url, other.url]
        braze.rest_endpoint, braze.api_key = other.url, "another-key"
        braze.save()
        one.city = "Rome"
        one.save()
        sync()
        assert other.profile("c1")["standard_attributes"] == {"first_name": "Ada", "home_city": "Rome"}


def test_a_backfill_after_a_purge_sends_no_event_twice(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    settings.BRAZE_RETENTION_DAYS = 0
    assert retention.purge() > 0
    assert any("left out" in step.name for step in backfill.backfill(account.pk))
    sync()
    assert sandbox.summary()["duplicates"]["event_id"] == 0


def test_what_the_flush_sends_from_the_ledger_counts_in_redis_too(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, redis_client: Any
) -> None:
    """Redis was wiped between the commit and the send: a loss of that commit must still be noticed."""
    relay.relay(account.pk)
    redis_client.flushall()
    flush.refill(account.pk)
    flush.flush(account.pk)
    BrazeState.objects.update(commits=0)
    assert commits.has_lost_commits(BrazeState.objects.get())


def test_an_order_of_another_customer_is_another_order(account: Account, one: Customer, sync: Sync) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sync()
    order.customer = Customer.objects.create(account=account, external_id="c2")
    with pytest.raises(Exception, match="cannot change"):
        order.save()
    assert BrazePurchase.objects.get().customer_external_id == "c1"


def test_a_line_added_after_another_was_deleted_is_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("A", 10), ("B", 5))
    sync()
    order.lines.get(sku="B").delete()
    OrderLine.objects.create(order=order, sku="C", quantity=1, value=7)
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "22.00"}


def test_a_refused_currency_corrected_at_the_source_is_sent(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED", currency="QQQ")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=10)
    sync()
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"rejected"}
    order.currency = "USD"
    order.save()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync, 3)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def test_a_sale_that_never_left_is_not_sent_by_its_reversal(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, one, ("CD", 10))
    sandbox.faults.add(status=503, times=1)
    sync()
    BrazeSettings.objects.update(sync_purchases=False)
    settle_all(sync, 2)
    BrazeSettings.objects.update(sync_purchases=True)
    order.status = "REVERSED"
    order.save()
    settle_all(sync, 3)
    assert sandbox.summary()["purchases"] == 0
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_a_refused_deletion_is_not_repeated_once_the_customer_is_back(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_SETTLES_SECONDS = settings.BRAZE_DELETE_AFTER_SECONDS = 0
    sync()
    one.delete()
    sandbox.faults.add(endpoint="delete", status=400)
    sync()
    sandbox.faults.clear()
    Customer.objects.create(account=account, external_id="c1", first_name="Bea")
    sync()
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    settle_all(sync, 3)
    assert sandbox.profile("c1") is not None
    assert OutboxEntry.objects.filter(error="the customer exists again", status="skipped").exists()


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


def test_a_request_time_out_of_braze_waits_for_nobody() -> None:
    verdict = verdicts.of_answer(client.Answer(408, b""), "key")
    assert (verdict.traffic, verdict.otherwise) == (verdicts.Traffic.BACK_OFF, verdicts.ObjectFate.UNKNOWN)


def test_what_was_open_in_a_backup_is_held_with_the_time_of_the_backup(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Captured before the backup and sent after it: the dangerous ones."""
    Event.objects.create(account=account, customer=one, type="LOGIN")
    with lost_afterwards():
        sync()
    backup_taken = database_now()
    sync()
    restored.resume(account.pk, backup_taken)
    settle_all(sync, 2)
    assert OutboxEntry.objects.get(kind="event").status == "unknown"
    assert sandbox.summary()["duplicates"]["event_id"] == 0


def test_an_unknown_deletion_leaves_nothing_certain_in_the_mirror(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    sync()
    one.delete()
    sandbox.faults.add(endpoint="delete", close="after", times=1)
    sync()
    profile = BrazeProfile.objects.get()
    assert set(profile.uncertain) == set(profile.attributes) != set()
    assert not profile.is_known


@pytest.mark.parametrize("status", [201, 400])
def test_an_error_that_names_what_was_not_sent_is_not_answered_at_once(
    account: Account, one: Customer, sync: Sync, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    posts = []

    def post(*arguments: Any) -> client.Answer:
        posts.append(arguments)
        assert len(posts) < 20, "sent again at once, without end"
        errors = b'[{"type":"EMAIL_BAD_FORMAT","input_array":"attributes","index":7}]'
        return client.Answer(status, b'{"message":"success","errors":' + errors + b"}")

    monkeypatch.setattr(client, "post", post)
    for _ in range(3):
        sync()
    assert len(posts) == 1

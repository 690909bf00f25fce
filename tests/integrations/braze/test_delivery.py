"""What Braze answers decides each object's fate; nothing is lost, and nothing is doubled without somebody knowing."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from integrations.braze import buffer, flush, ledger, readiness, relay, settlement, taking, verdicts
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

Sync = Callable[[], None]


def counts() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in OutboxEntry.objects.values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


def forget_backoff() -> None:
    BrazeState.objects.update(backoff_until=None)


@pytest.fixture
def change(account: Account, braze: BrazeSettings) -> Customer:
    """A customer with an event and an order: an attribute object, an event and two purchases."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value=Decimal("29.33"))
    return one


# --- nothing lost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503])
def test_it_sends_again_what_braze_could_not_take(
    change: Customer, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    sandbox.faults.add(status=status, times=1)
    sync()
    assert counts() == {"pending": 4}
    assert Delivery.objects.get().outcome == "retry"
    forget_backoff()
    sync()
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}


def test_it_waits_as_braze_tells_it_to(account: Account, change: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    sandbox.faults.add(status=429, times=1, retry_after=1)
    begun = time.monotonic()
    sync()
    assert counts() == {"pending": 4}
    assert readiness.of(account.pk).state == "backing off"
    assert BrazeState.objects.get().failures == 0
    while counts() != {"delivered": 4} and time.monotonic() - begun < 10:
        threading.Event().wait(0.02)
        sync()
    assert counts() == {"delivered": 4}
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("status", [401, 403, 404, 415, 302])
def test_it_pauses_the_account_for_what_a_person_has_to_mend(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    sandbox.faults.add(status=status)
    sync()
    assert counts() == {"pending": 4}
    ready = readiness.of(account.pk)
    assert ready.state == "paused"
    assert f"Braze answered {status}" in ready.detail
    sync()
    assert Delivery.objects.filter(started_at__isnull=False).count() == 1
    sandbox.faults.clear()
    braze.save()
    sync()
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}


def test_braze_s_words_about_a_wrong_key_do_not_repeat_it(
    account: Account, braze: BrazeSettings, change: Customer, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    BrazeSettings.objects.update(api_key="invalid")
    with caplog.at_level(logging.DEBUG):
        sync()
    assert readiness.of(account.pk).detail.startswith('Braze answered 401: {"message":"Invalid API key: [key]"}')
    assert "[key]" in Delivery.objects.get().answer


def test_it_backs_off_longer_with_each_failure_and_forgets_it_when_braze_is_back(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=503, times=3)
    for failures in (1, 2, 3):
        sync()
        assert BrazeState.objects.get().failures == failures
        forget_backoff()
    sync()
    state = BrazeState.objects.get()
    assert (state.failures, state.backoff_until) == (0, None)


def test_an_account_that_fails_is_tried_one_request_at_a_time_on_threads_set_apart(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(150))
    relay.relay(account.pk)
    sandbox.faults.add(status=503, times=2)
    assert flush.flush(account.pk, on_probation=False) == 2
    forget_backoff()
    assert flush.flush(account.pk, on_probation=False) == 0
    relay.relay(account.pk)
    assert buffer.claim(account.pk, most=1) is not None
    assert flush.flush(account.pk, on_probation=True) == 0  # one is in flight
    buffer.release(account.pk, Delivery.objects.filter(finished_at=None).order_by("created_at")[0].pk)
    assert flush.flush(account.pk, on_probation=True) == 1
    assert not readiness.of(account.pk).on_probation


def test_backoff_is_jittered_and_capped() -> None:
    assert settlement.backoff_seconds(0, 0.0) == 0
    assert settlement.backoff_seconds(3, 0.5) == 2.0
    assert settlement.backoff_seconds(10_000, 0.999) <= settlement.BACKOFF_MOST_SECONDS


def test_a_refused_connection_costs_nothing_but_time(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.stop()
    sync()
    assert counts() == {"pending": 4}
    assert Delivery.objects.get().outcome == "retry"
    assert BrazeState.objects.get().failures == 1


# --- objects that Braze refuses ---------------------------------------------------------------------------


def test_one_refused_object_takes_nobody_with_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    """Its entries end as rejected with Braze's words, in the admin and in the log; the mirror knows nothing of it."""
    sandbox.sandbox.workspace.rules.blacklisted_users.add("bad")
    good, bad = (
        Customer.objects.create(account=account, external_id=name, first_name="Ada") for name in ("good", "bad")
    )
    Event.objects.create(account=account, customer=bad, type="LOGIN")
    Event.objects.create(account=account, customer=good, type="LOGIN")
    sync()
    ends = list(OutboxEntry.objects.order_by("pk").values_list("customer_external_id", "status"))
    assert ends == [("good", "delivered"), ("bad", "rejected"), ("bad", "rejected"), ("good", "delivered")]
    rejected = OutboxEntry.objects.filter(status="rejected").order_by("pk")
    assert all(entry.error == "provided external_id is blacklisted and disallowed" for entry in rejected)
    assert list(BrazeProfile.objects.values_list("external_id", flat=True)) == ["good"]
    delivery = Delivery.objects.get()
    assert delivery.outcome == "partial"
    warnings = [record.getMessage() for record in caplog.records if "sync failed" in record.getMessage()]
    assert len(warnings) == 2
    for part in (f"account={account.pk}", "kind=customer_created", f"entry={rejected[0].pk}", f"request={delivery.pk}"):
        assert part in warnings[0]
    assert "status=201 reason=provided external_id" in warnings[0]


def test_a_value_that_braze_refuses_is_left_out_until_it_changes_and_the_rest_goes(
    account: Account, change: Customer
) -> None:
    def answer(body: bytes) -> dict[str, Any]:
        relay.relay(account.pk)
        delivery = Delivery.objects.filter(finished_at=None).get()
        ledger.start(delivery.pk)
        settlement.settle(delivery.pk, verdicts.of_answer(verdicts.Answer(201, body), "key"), 201)
        return delivery.payload["attributes"][0]

    accepted = b'{"message":"success"}'
    refusal = b'{"message":"success","errors":[{"type":"\'first_name\' is bad","input_array":"attributes","index":0}]}'
    change.city = "Paris"
    change.save()
    assert answer(refusal)["first_name"] == "Ada"
    rest = answer(accepted)
    assert "first_name" not in rest
    assert rest["home_city"] == "Paris"
    change.first_name = "Bea"
    change.save()
    assert answer(accepted) == {"external_id": "c1", "first_name": "Bea"}


@pytest.mark.parametrize("status", [400, 413])
def test_a_poisonous_object_is_found_by_halving_and_the_rest_goes_through(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    sandbox.faults.add(status=status, contains="poison")
    customers = [Customer(account=account, external_id=f"c{n}", first_name=f"n{n}") for n in range(60)]
    customers[37].first_name = "poison"
    Customer.objects.bulk_create(customers)
    Event.objects.bulk_create(Event(account=account, customer=one, type="LOGIN") for one in customers)
    sync()
    assert counts() == {"delivered": 119, "rejected": 1}
    rejected = OutboxEntry.objects.get(status="rejected")
    assert (rejected.customer_external_id, rejected.kind) == ("c37", "customer_created")
    assert f"Braze answered {status}" in rejected.error
    assert sandbox.summary()["events"] == 60
    assert sandbox.summary()["duplicates"]["event_id"] == 0


def test_a_poisonous_purchase_of_a_long_order_stands_alone(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=400, contains="S57")
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.bulk_create(OrderLine(order=order, sku=f"S{n}", quantity=1, value=1) for n in range(10, 90))
    Event.objects.create(account=account, customer=one, type="LATER")
    sync()
    fates = dict(BrazePurchase.objects.values_list("product_id", "fate"))
    assert [sku for sku, fate in fates.items() if fate != "delivered"] == ["S57"]
    assert fates["S57"] == "rejected"
    assert OutboxEntry.objects.get(kind="order").status == "rejected"
    assert OutboxEntry.objects.get(kind="event").status == "delivered"
    assert sandbox.summary()["revenue"] == {"USD": "79.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0


def test_a_poisonous_deletion_stands_alone(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(10, 30))
    Customer.objects.all().delete()
    sandbox.faults.add(status=400, endpoint="delete", contains="c17")
    sync()
    of_deletions = OutboxEntry.objects.filter(kind="customer_deleted")
    assert of_deletions.filter(status="delivered").count() == 19
    assert of_deletions.get(status="rejected").customer_external_id == "c17"


def test_an_account_with_the_newer_contract_is_switched_to_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=400, message="Max Input Length Exceeded", times=1)
    customers = Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(60))
    Event.objects.bulk_create(Event(account=account, customer=one, type="LOGIN") for one in customers)
    sync()
    assert BrazeSettings.objects.get().batch_limit == "combined"
    assert BrazeState.objects.get().combined_at is not None
    assert counts() == {"delivered": 120}
    sent = Delivery.objects.filter(outcome="accepted")
    assert max(delivery.size for delivery in sent) <= 75


def test_an_index_counts_inside_its_own_array(account: Account, change: Customer, monkeypatch: Any) -> None:
    """Objects with the same index in other arrays are not the refused one."""
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    assert ledger.start(delivery.pk)
    body = b'{"message":"success","errors":[{"type":"\'quantity\' is not valid","input_array":"purchases","index":0}]}'
    verdict = verdicts.of_answer(verdicts.Answer(201, body), "key")
    assert settlement.settle(delivery.pk, verdict, 201)
    assert list(BrazePurchase.objects.order_by("pk").values_list("fate", flat=True)) == ["rejected", "delivered"]
    ends = dict(OutboxEntry.objects.values_list("kind", "status"))
    assert ends == {
        "customer_created": "delivered",
        "event": "delivered",
        "order": "rejected",
        "order_line": "rejected",
    }


def test_an_index_beyond_what_was_sent_makes_its_array_unknown(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    ledger.start(delivery.pk)
    body = b'{"message":"success","errors":[{"type":"bad","input_array":"purchases","index":2}]}'
    settlement.settle(delivery.pk, verdicts.of_answer(verdicts.Answer(201, body), "key"), 201)
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"unknown"}
    assert OutboxEntry.objects.get(kind="event").status == "delivered"


def test_a_forgotten_hour_is_counted_from_the_ledger_of_all_who_share_the_key(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync, redis_client: Any
) -> None:
    sharer = Account.objects.create(name="Sister", slug="sister")
    BrazeSettings.objects.create(
        account=sharer, is_enabled=True, api_key=braze.api_key, rest_endpoint=sandbox.url, create_customers=True
    )
    BrazeSettings.objects.update(calls_per_hour=1)
    sync()
    redis_client.flushall()
    Customer.objects.create(account=sharer, external_id="s1")
    relay.relay(sharer.pk)
    flush.flush(sharer.pk)
    assert sandbox.summary()["requests"]["track"] == 1


# --- order at Braze's end ---------------------------------------------------------------------------------


def test_a_second_change_of_an_attribute_waits_and_coalesces(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Braze only queues: two changes of one attribute in quick succession may be applied in the other order."""
    BrazeSettings.objects.update(attribute_gap_seconds=60)
    sync()
    for name in ("Bea", "Cleo"):
        change.first_name = name
        change.save()
    Event.objects.create(account=account, customer=change, type="LATER")
    other = Customer.objects.create(account=account, external_id="c2")
    sync()
    waiting = OutboxEntry.objects.filter(status="pending")
    assert {(entry.customer_external_id, entry.kind) for entry in waiting} == {
        ("c1", "customer_updated"),
        ("c1", "event"),
    }
    assert sandbox.profile(other.external_id) is not None
    BrazeProfile.objects.update(recent={})
    waiting.update(due_at=None)
    sync()
    assert counts().keys() == {"delivered"}
    assert sandbox.profile("c1")["standard_attributes"]["first_name"] == "Cleo"


def test_another_attribute_need_not_wait(account: Account, change: Customer, sync: Sync) -> None:
    BrazeSettings.objects.update(attribute_gap_seconds=60)
    sync()
    change.last_name = "Lovelace"
    change.save()
    sync()
    assert counts().keys() == {"delivered"}


# --- outcomes that cannot be known ------------------------------------------------------------------------


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
    flush.settle_silent()
    assert Delivery.objects.get().finished_at is None
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    flush.settle_silent()
    assert Delivery.objects.get().outcome == "unknown"
    assert counts() == {"pending": 2, "unknown": 2}


# --- started once, settled once ---------------------------------------------------------------------------


def test_a_request_is_started_by_one_winner(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    pk = Delivery.objects.get().pk
    assert [ledger.start(pk) for _ in range(3)] == [True, False, False]


def test_a_request_that_redis_repeats_is_sent_once(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any
) -> None:
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    redis_client.rpush(f"braze:{{{account.pk}}}:ready", str(delivery.pk), str(delivery.pk))
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 1


def test_a_request_is_settled_once(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    pk = Delivery.objects.get().pk
    assert not settlement.settle(pk, verdicts.silent())  # not started
    ledger.start(pk)
    assert settlement.settle(pk, verdicts.not_sent("first"))
    assert not settlement.settle(pk, verdicts.silent())
    assert Delivery.objects.get(pk=pk).answer == "first"


def test_a_sender_too_slow_to_send_gives_the_request_back(
    account: Account, change: Customer, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.relay(account.pk)
    monkeypatch.setattr(ledger, "SEND_WITHIN", timedelta(seconds=-1))
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert Delivery.objects.get().outcome == "dissolved"
    assert counts() == {"pending": 4}


@pytest.mark.django_db(transaction=True)
def test_two_flushes_share_the_work_and_double_nothing(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    customers = Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(600))
    Event.objects.bulk_create(Event(account=account, customer=one, type="LOGIN") for one in customers)
    relay.relay(account.pk)

    def work() -> None:
        flush.flush(account.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.summary()["events"] == 600
    assert sandbox.summary()["duplicates"]["event_id"] == 0
    assert counts() == {"delivered": 1200}


# --- Redis is disposable ----------------------------------------------------------------------------------


def test_nothing_happens_but_a_delay_when_redis_forgets(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any, sync: Sync
) -> None:
    relay.relay(account.pk)
    redis_client.flushall()
    redis_client.script_flush()
    assert flush.flush(account.pk) == 0
    sync()
    assert counts() == {"delivered": 4}


def test_a_body_that_redis_lost_is_read_from_the_ledger(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any
) -> None:
    relay.relay(account.pk)
    redis_client.delete(f"braze:{{{account.pk}}}:bodies")
    assert flush.flush(account.pk) == 1
    assert counts() == {"delivered": 4}


def test_a_request_unknown_to_the_ledger_is_dropped(account: Account, braze: BrazeSettings, redis_client: Any) -> None:
    """After a database was restored from a backup, Redis may know more than the ledger."""
    redis_client.rpush(f"braze:{{{account.pk}}}:ready", *(str(uuid.uuid4()) for _ in range(buffer.IN_FLIGHT + 1)))
    assert flush.flush(account.pk) == 0
    assert buffer.claim(account.pk) is None


# --- a changed setting ------------------------------------------------------------------------------------


def test_a_changed_setting_takes_back_what_has_not_left(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    relay.relay(account.pk)
    braze.sync_purchases = False
    braze.save()
    assert Delivery.objects.get().outcome == "dissolved"
    assert counts() == {"pending": 4}
    sync()
    assert sandbox.summary()["purchases"] == 0
    assert counts() == {"delivered": 2, "skipped": 2}


def test_a_relay_at_work_under_old_settings_commits_nothing(
    account: Account, braze: BrazeSettings, change: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = relay.records.load

    def load_and_be_overtaken(*arguments: Any) -> Any:
        loaded = load(*arguments)
        BrazeSettings.objects.update(sync_events=False)
        return loaded

    monkeypatch.setattr(relay.records, "load", load_and_be_overtaken)
    relay.relay(account.pk)
    assert Delivery.objects.count() == 0
    assert counts() == {"pending": 4}


def test_a_customer_deleted_while_a_request_is_composed_is_not_in_it(
    account: Account, change: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = relay.records.load

    def load_and_delete(*arguments: Any) -> Any:
        loaded = load(*arguments)
        if change.pk:
            change.delete()
        return loaded

    monkeypatch.setattr(relay.records, "load", load_and_delete)
    relay.relay(account.pk)
    assert set(Delivery.objects.values_list("endpoint", flat=True)) == {"delete"}


# --- busy customers ---------------------------------------------------------------------------------------


def test_no_two_unsettled_requests_share_a_customer(account: Account, change: Customer) -> None:
    relay.relay(account.pk)
    Event.objects.create(account=account, customer=change, type="LATER")
    other = Customer.objects.create(account=account, external_id="c2")
    relay.relay(account.pk)
    assert [entry.customer_external_id for entry in OutboxEntry.objects.filter(status="pending")] == ["c1"]
    assert OutboxEntry.objects.get(customer_external_id=other.external_id).status == "buffered"


def test_the_relay_stops_when_enough_is_ready(
    account: Account, braze: BrazeSettings, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRAZE_READY_REQUESTS = 2
    monkeypatch.setattr(taking, "TAKE", 75)
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(300))
    relay.relay(account.pk)
    assert ledger.unstarted(account.pk).count() == 2
    assert counts() == {"pending": 150, "buffered": 150}


def test_the_relay_stops_when_what_is_ready_is_large(
    account: Account, braze: BrazeSettings, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BRAZE_READY_BYTES = 1
    monkeypatch.setattr(taking, "TAKE", 75)
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{n}") for n in range(300))
    relay.relay(account.pk)
    assert ledger.unstarted(account.pk).count() == 1


def test_a_redis_that_is_full_loses_nothing(account: Account, change: Customer, redis_client: Any, sync: Sync) -> None:
    redis_client.config_set("maxmemory", 1)
    try:
        relay.relay(account.pk)
        assert counts() == {"buffered": 4}
    finally:
        redis_client.config_set("maxmemory", 0)
    sync()
    assert counts() == {"delivered": 4}


def test_a_count_of_braze_s_that_does_not_add_up_is_told_and_decides_nothing(
    change: Customer, sync: Sync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"message":"success","attributes_processed":1,"events_processed":0,"purchases_processed":2}'
    monkeypatch.setattr(flush.client, "post", lambda *arguments: flush.client.Answer(201, body))
    sync()
    assert counts() == {"delivered": 4}
    words = "Braze counted 0 events and 0 errors of 1 sent."
    assert Delivery.objects.get().answer.startswith(words)
    assert words in caplog.text

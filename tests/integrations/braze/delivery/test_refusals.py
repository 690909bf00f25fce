"""Objects that Braze refuses, by name or hidden in a whole request: the culprit ends alone, the rest goes through."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import client, ledger, settlement, verdicts
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import counts, settle_all
from tests.integrations.braze.orders import fulfilled, reverse

Sync = Callable[[], None]
ACCEPTED = b'{"message":"success"}'


def answered(account: Account, body: bytes) -> dict[str, Any]:
    """Compose a request and settle it with this answer; the attributes it carried."""
    relay.relay(account.pk)
    delivery = Delivery.objects.filter(finished_at=None).get()
    ledger.start(delivery.pk)
    settlement.settle(delivery.pk, verdicts.of_answer(verdicts.Answer(201, body), "key"), 201)
    attributes: list[dict[str, Any]] = delivery.payload["attributes"]
    return attributes[0]


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
    refusal = b'{"message":"success","errors":[{"type":"\'first_name\' is bad","input_array":"attributes","index":0}]}'
    change.city = "Paris"
    change.save()
    assert answered(account, refusal)["first_name"] == "Ada"
    rest = answered(account, ACCEPTED)
    assert "first_name" not in rest
    assert rest["home_city"] == "Paris"
    change.first_name = "Bea"
    change.save()
    assert answered(account, ACCEPTED) == {"external_id": "c1", "first_name": "Bea"}


def test_a_value_that_braze_refuses_by_its_code_is_left_out_too(account: Account, braze: BrazeSettings) -> None:
    """Braze documents codes and answers in sentences; the code for a bad address quotes no name."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada", email="ada@example.com")
    refusal = b'{"message":"success","errors":[{"type":"EMAIL_BAD_FORMAT","input_array":"attributes","index":0}]}'
    assert answered(account, refusal)["email"] == "ada@example.com"
    one.city = "Paris"
    one.save()
    rest = answered(account, ACCEPTED)
    assert (rest["first_name"], rest["home_city"], "email" in rest) == ("Ada", "Paris", False)


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


def test_an_order_that_is_refused_in_part_and_else_in_doubt_waits_for_a_decision(
    account: Account, change: Customer
) -> None:
    relay.relay(account.pk)
    delivery = Delivery.objects.get()
    ledger.start(delivery.pk)
    named, nameless = b'{"type":"bad","input_array":"purchases","index":0}', b'{"type":"odd","input_array":"purchases"}'
    body = b'{"message":"success","errors":[%s,%s]}' % (named, nameless)
    settlement.settle(delivery.pk, verdicts.of_answer(verdicts.Answer(201, body), "key"), 201)
    assert list(BrazePurchase.objects.order_by("pk").values_list("fate", flat=True)) == ["rejected", "unknown"]
    assert OutboxEntry.objects.get(kind="order").status == "unknown"


def test_a_refused_sale_takes_no_other_sale_s_reversal_with_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """It is to be sent again, and may have arrived."""
    BrazeSettings.objects.update(unknown_purchases="resend")
    one, two = (Customer.objects.create(account=account, external_id=name) for name in ("c1", "c2"))
    order = fulfilled(account, one, ("CD", 10))
    sync()
    reverse(order)
    sandbox.faults.add(close="after", times=1)
    sync()
    reversal = BrazePurchase.objects.exclude(error="").get(fate="pending")
    OutboxEntry.objects.filter(status="pending").update(due_at=database_now() + timedelta(minutes=1))
    sandbox.faults.add(status=400, contains='"BAD"')
    fulfilled(account, two, ("BAD", 5), order_id="o2")
    settle_all(sync)
    assert BrazePurchase.objects.get(order_id="o2").fate == "rejected"
    assert BrazePurchase.objects.get(pk=reversal.pk).error == reversal.error


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

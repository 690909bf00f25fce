"""Customers with more than a request can carry by weight: 4 MB [Braze: API limits]."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import redis

from integrations.braze.composing import records, relay, rounds
from integrations.braze.composing.taking import Pass
from integrations.braze.delivery import flush
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import Kind
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

Sync = Callable[[], None]
LIMIT = 4_000_000


def heavy(kilobytes: int) -> dict[str, Any]:
    return {f"k{n}": "x" * 240 for n in range(4 * min(kilobytes, 60))} | {
        "list": ["y" * 240] * 4 * max(kilobytes - 60, 0)
    }


def test_heavy_events_of_one_customer_never_exceed_a_body(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    for number in range(75):
        Event.objects.create(account=account, customer=one, type="BIG", data={"n": number, **heavy(95)})
    sync()
    assert max(Delivery.objects.values_list("bytes", flat=True)) < LIMIT
    assert sandbox.summary()["events"] == 75
    assert set(sandbox.summary()["statuses"]) == {"201"}


def test_a_heavy_order_arrives_whole_though_no_body_could_carry_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    one = Customer.objects.create(account=account, external_id="c1")
    for number in range(20):
        Event.objects.create(account=account, customer=one, type="BIG", data={"n": number, **heavy(95)})
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    for number in range(75):
        OrderLine.objects.create(order=order, sku=f"s{number}", quantity=1, value=1, data=heavy(45))
    sync()
    assert max(Delivery.objects.values_list("bytes", flat=True)) < LIMIT
    assert sandbox.summary()["revenue"] == {"USD": "75.00"}
    assert set(sandbox.summary()["statuses"]) == {"201"}
    assert accounting.check(account.pk) == []


def test_a_round_has_no_more_events_than_fit_into_memory_and_the_next_one_has_the_rest(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST_EVENT_BYTES", 10_500)
    monkeypatch.setattr(records, "FIRST_EVENTS", 2)
    people = [Customer.objects.create(account=account, external_id=f"c{number}") for number in range(5)]
    for number in range(40):
        data = {"n": number, "text": "x" * 950}
        Event.objects.create(account=account, customer=people[number % 5], type="BIG", data=data)
    passing, sizes = Pass(account.pk), []
    while round := rounds.read(account.pk, passing, math.inf):
        sizes.append(len(round.records.events))
        entries = [entry for theirs in round.by_customer.values() for entry in theirs if entry.kind == Kind.EVENT]
        assert {entry.subject for entry in entries} == set(round.records.events)
    assert sizes == [11]  # all five customers have some of them; what is left of them is for another pass
    for _ in range(8):
        sync()
    assert sandbox.summary()["events"] == 40
    events = [entry["object"] for entry in sandbox.journal() if entry["kind"] == "event"]
    for person in people:
        sent = [event["properties"]["n"] for event in events if event["external_id"] == person.external_id]
        assert sent == sorted(sent)
        assert len(sent) == 8


def test_a_customer_who_did_not_fit_into_a_round_is_in_the_next_one_of_the_same_pass(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MOST_EVENT_BYTES", 10_500)
    monkeypatch.setattr(records, "FIRST_EVENTS", 2)
    for number in range(40):
        one = Customer.objects.create(account=account, external_id=f"c{number:02}")
        Event.objects.create(account=account, customer=one, type="BIG", data={"n": number, "text": "x" * 950})
    passing, seen = Pass(account.pk), []
    while round := rounds.read(account.pk, passing, math.inf):
        assert len(round.records.events) <= 11
        seen += round.by_customer
    assert seen == [f"c{number:02}" for number in range(40)]


@pytest.mark.parametrize("refill", [False, True])
@pytest.mark.parametrize("cap", [("BRAZE_READY_BYTES", 500_000), ("BRAZE_READY_REQUESTS", 2)])
def test_redis_holds_no_more_of_an_account_than_it_may_however_much_one_round_composes(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    sync: Sync,
    settings: Any,
    redis_client: "redis.Redis",
    cap: tuple[str, int],
    refill: bool,
) -> None:
    setattr(settings, *cap)
    for number in range(160):
        one = Customer.objects.create(account=account, external_id=f"c{number}")
        Event.objects.create(account=account, customer=one, type="BIG", data={"n": number, **heavy(3)})
    relay.relay(account.pk)
    if refill:
        redis_client.flushdb()
        flush.refill(account.pk)
    held = redis_client.lrange(f"braze:{{{account.pk}}}:ready", 0, -1)
    sizes = Delivery.objects.filter(pk__in=held).values_list("bytes", flat=True)
    assert 0 < len(held) < Delivery.objects.count()
    assert len(held) <= settings.BRAZE_READY_REQUESTS
    assert sum(sizes) <= settings.BRAZE_READY_BYTES
    sync()
    assert sandbox.summary()["events"] == 160


def test_a_line_of_more_units_than_can_be_sent_is_refused_and_holds_up_nothing(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """Two thousand million units were twenty million purchases: the relay never came to its commit."""
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="many", quantity=2_000_000_000, value=10)
    OrderLine.objects.create(order=order, sku="one", quantity=1, value=5)
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "5.00"}
    (row,) = BrazePurchase.objects.filter(fate="rejected")
    assert row.error == "2,000,000,000 units: a line is sent up to 1,000,000"
    assert accounting.check(account.pk) == []

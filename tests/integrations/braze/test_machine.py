"""Take, pack, push, start, deliver, settle and sweep in any order, with a crash between any two, keep the promises.

Senders are modelled as what they hold: a request they have started, or its answer. A sender that dies drops it.
"""

import itertools
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from integrations.braze import buffer, connection, flush, ledger, relay, restored, settlement
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

CUSTOMERS = 3
FAULTS = ({}, {}, {"status": 500}, {"status": 504, "apply": True}, {"close": "before"}, {"close": "after"})
_numbers = itertools.count()


class Crash(BaseException):
    """The process ends here: nothing that handles errors handles this."""


@contextmanager
def crashing_in(module: Any, name: str, when: bool) -> Iterator[None]:
    if not when:
        yield
        return
    with mock.patch.object(module, name, side_effect=Crash):
        try:
            yield
        except Crash:
            return


class Machine(RuleBasedStateMachine):
    """One account per run; `sandbox` is set by the test."""

    sandbox: SandboxServer

    def __init__(self) -> None:
        super().__init__()
        self.sandbox.reset()
        connection.client().flushdb()
        self.run_number = next(_numbers)
        self.account = Account.objects.create(name="Shop", slug=f"shop-{self.run_number}")
        self.settings = BrazeSettings.objects.create(
            account=self.account,
            is_enabled=True,
            api_key="a-test-key",
            rest_endpoint=self.sandbox.url,
            attribute_gap_seconds=0,
            **dict.fromkeys(TOPICS, True),
        )
        self.customers = [
            Customer.objects.create(account=self.account, external_id=f"r{self.run_number}-c{number}", first_name="Ada")
            for number in range(CUSTOMERS)
        ]
        self.started: list[uuid.UUID] = []
        self.answered: list[tuple[uuid.UUID, Any, int | None]] = []
        self.dead: list[uuid.UUID] = []
        self.numbers: Counter[str] = Counter()

    # --- what the shop does -----------------------------------------------------------------------------

    @rule(who=st.integers(0, CUSTOMERS - 1), name=st.sampled_from(["Ada", "Bea", "Cleo"]), tag=st.booleans())
    def edit(self, who: int, name: str, tag: bool) -> None:
        one = Customer.objects.get(pk=self.customers[who].pk)
        one.first_name, one.tags = name, {"vip": True} if tag else {}
        one.save()

    @rule(who=st.integers(0, CUSTOMERS - 1))
    def happen(self, who: int) -> None:
        one = self.customers[who]
        self.numbers[one.external_id] += 1
        number = self.numbers[one.external_id]
        Event.objects.create(account=self.account, customer=one, type="STEP", data={"n": number})

    @rule(who=st.integers(0, CUSTOMERS - 1), value=st.integers(0, 999), is_answered=st.booleans())
    def buy(self, who: int, value: int, is_answered: bool) -> None:
        order_id = f"r{self.run_number}-o{next(_numbers)}"
        order = Order.objects.create(
            account=self.account, customer=self.customers[who], order_id=order_id, status="FULFILLED"
        )
        OrderLine.objects.create(order=order, sku="CD", quantity=3, value=Decimal(value) / 100)
        if not is_answered:
            self.send({"close": "before"})

    @rule()
    def reverse(self) -> None:
        if order := Order.objects.filter(account=self.account, status="FULFILLED").last():
            order.status = "REVERSED"
            order.save()

    # --- what the workers do ----------------------------------------------------------------------------

    @rule(crash=st.sampled_from(["", "", "before the commit", "after the commit"]))
    def relay(self, crash: str) -> None:
        self.forget_waiting()
        with (
            crashing_in(restored, "count_commit", crash == "before the commit"),
            crashing_in(relay, "_push", crash == "after the commit"),
        ):
            relay.relay(self.account.pk)

    @rule()
    def push_again(self) -> None:
        flush.refill(self.account.pk)

    @rule(crash=st.booleans())
    def start(self, crash: bool) -> None:
        self.forget_waiting()
        claim = buffer.claim(self.account.pk)
        if claim is None or crash:
            return
        if ledger.start(claim.id):
            self.started.append(claim.id)
        else:
            buffer.release(self.account.pk, claim.id)

    @precondition(lambda self: self.started)
    @rule(fault=st.sampled_from(FAULTS))
    def deliver(self, fault: dict[str, Any]) -> None:
        delivery = Delivery.objects.get(pk=self.started.pop(0))
        self.sandbox.faults.set([fault] if fault else [])
        body = flush.zlib.decompress(bytes(delivery.body))
        self.answered.append((delivery.pk, *flush._deliver(self.settings, delivery.endpoint, body)))

    @precondition(lambda self: self.answered)
    @rule(crash=st.booleans())
    def settle(self, crash: bool) -> None:
        delivery_id, verdict, status = self.answered.pop(0)
        with crashing_in(settlement, "_steer", crash):
            settlement.settle(delivery_id, verdict, status)
            buffer.release(self.account.pk, delivery_id)
        if crash:
            self.dead.append(delivery_id)

    @rule(fault=st.sampled_from(FAULTS))
    def send(self, fault: dict[str, Any]) -> None:
        """Relay and send without a break: what is done is behind the faults to come."""
        self.sandbox.faults.set([{**fault, "times": 1}] if fault else [])
        self.relay_whole()
        flush.refill(self.account.pk)
        flush.flush(self.account.pk)

    def relay_whole(self) -> None:
        self.forget_waiting()
        relay.relay(self.account.pk)

    @precondition(lambda self: self.started or self.answered)
    @rule()
    def die(self) -> None:
        """Every sender, at whatever it is."""
        self.dead += self.started + [delivery_id for delivery_id, _, _ in self.answered]
        self.started, self.answered = [], []

    @rule()
    def sweep(self) -> None:
        """The deadline of what died has passed."""
        past = database_now() - timedelta(seconds=1)
        Delivery.objects.filter(pk__in=self.dead, finished_at=None).update(deadline=past)
        flush.settle_silent()

    # --- what Redis does --------------------------------------------------------------------------------

    @rule()
    def forget(self) -> None:
        connection.client().flushdb()

    @rule()
    def repeat(self) -> None:
        """All that was ever ready is ready again, and senders take it."""
        ready, bodies, flight = buffer._keys(self.account.pk)
        connection.client().delete(flight)
        for delivery in Delivery.objects.filter(account=self.account):
            connection.client().hset(bodies, str(delivery.pk), bytes(delivery.body))
            connection.client().rpush(ready, str(delivery.pk))
        self.sandbox.faults.clear()
        self.forget_waiting()
        flush.flush(self.account.pk)

    # --- the promises -----------------------------------------------------------------------------------

    @invariant()
    def no_two_open_requests_share_a_customer(self) -> None:
        seen: set[str] = set()
        for delivery in Delivery.objects.filter(account=self.account, finished_at=None):
            lines = [line for name, lines in delivery.manifest.items() if name != "unfinished" for line in lines]
            customers = {line["customer"] for line in lines}
            assert not customers & seen
            seen |= customers

    @invariant()
    def what_is_captured_is_in_the_ledger_or_pending(self) -> None:
        """Never only in Redis or in a message: a buffered entry has an open request that carries it."""
        buffered = OutboxEntry.objects.filter(account=self.account, status=Status.BUFFERED)
        open_ones = set(Delivery.objects.filter(account=self.account, finished_at=None).values_list("pk", flat=True))
        assert set(buffered.values_list("batch", flat=True)) <= open_ones

    def teardown(self) -> None:
        self.dead += self.started + [delivery_id for delivery_id, _, _ in self.answered]
        self.sweep()
        self.drain()
        self.check()

    def drain(self) -> None:
        self.sandbox.faults.clear()
        for _ in range(50):
            self.forget_waiting()
            connection.client().flushdb()
            made = relay.relay(self.account.pk)
            if not made and not flush.refill(self.account.pk):
                return
            flush.flush(self.account.pk)
        raise AssertionError("it does not come to an end")

    def check(self) -> None:
        entries = OutboxEntry.objects.filter(account=self.account)
        assert not entries.filter(status=Status.BUFFERED).exists()
        assert not entries.filter(status=Status.PENDING, parked=False).exists()
        self.check_profiles()
        self.check_facts(entries.filter(kind="event"))
        self.check_books()
        before = self.sandbox.summary()["requests"]
        Customer.objects.filter(account=self.account).update(language="")
        self.drain()
        assert self.sandbox.summary()["requests"] == before  # nothing has changed, so nothing is sent

    def check_profiles(self) -> None:
        for one in Customer.objects.filter(account=self.account):
            held = self.sandbox.profile(one.external_id)
            assert held["attributes"]["first_name"] == one.first_name
            assert held["attributes"].get("tag_vip") == one.tags.get("vip")
            mirrored = BrazeProfile.objects.get(account=self.account, external_id=one.external_id)
            assert mirrored.uncertain == []
            assert mirrored.attributes == held["attributes"]

    def check_facts(self, events: Any) -> None:
        applied: dict[str, list[Any]] = defaultdict(list)
        for entry in self.sandbox.journal():
            properties = entry["object"].get("properties", {})
            applied[properties.get("event_id") or properties.get("purchase_id") or ""].append(entry)
        doubtful = Counter(
            item["properties"]["event_id"]
            for delivery in Delivery.objects.filter(account=self.account, outcome="unknown")
            for item in delivery.payload.get("events", [])
        )
        for entry in events:
            assert entry.status == Status.DELIVERED
            assert 1 <= len(applied[entry.subject]) <= 1 + doubtful[entry.subject]
        for row in BrazePurchase.objects.filter(account=self.account):
            times = len(applied[row.purchase_id])
            assert times == 1 if row.fate == "delivered" else times <= (row.fate == "unknown")
        self.check_order()

    def check_order(self) -> None:
        last: dict[str, int] = defaultdict(int)
        seen: set[str] = set()
        for entry in self.sandbox.journal():
            if entry["kind"] == "purchase":
                seen.add(entry["object"]["properties"]["purchase_id"])
                assert entry["object"]["properties"]["purchase_id"].removesuffix(":R") in seen
            if entry["kind"] == "event" and entry["object"]["properties"]["event_id"] not in seen:
                assert entry["object"]["properties"]["n"] > last[entry["customer"]]
                last[entry["customer"]] = entry["object"]["properties"]["n"]
                seen.add(entry["object"]["properties"]["event_id"])

    def check_books(self) -> None:
        events = Event.objects.filter(account=self.account).count()
        assert OutboxEntry.objects.filter(account=self.account, kind="event").count() == events
        for order in Order.objects.filter(account=self.account).prefetch_related("lines"):
            rows = BrazePurchase.objects.filter(account=self.account, order_id=order.order_id)
            assert rows
            if all(row.fate == "delivered" for row in rows):
                due = sum(line.paid for line in order.lines.all()) if order.status == "FULFILLED" else 0
                assert sum(row.price * row.quantity for row in rows) == due

    def forget_waiting(self) -> None:
        BrazeState.objects.filter(account=self.account).update(backoff_until=None)


@pytest.mark.usefixtures("db", "redis_client")
def test_it_keeps_its_promises_whatever_happens_in_between(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django_settings, "BRAZE_EXTRA_ENDPOINTS", [sandbox.url])
    monkeypatch.setattr(Machine, "sandbox", sandbox, raising=False)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a run takes half a second: to shrink one, minutes
        ),
    )

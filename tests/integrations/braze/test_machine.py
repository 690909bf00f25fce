"""Take, pack, push, start, deliver, settle and sweep in any order, with a crash between any two, keep the promises.

Senders are modelled as what they hold: requests they have started, or their answers. A sender that dies drops them.
The flush itself is made to crash as well, at each of its steps.
"""

import inspect
import itertools
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from integrations.braze.composing import compose, packing, relay
from integrations.braze.delivery import (
    buffer,
    commits,
    connection,
    flush,
    ledger,
    limiter,
    profiles,
    sender,
    settlement,
    silent,
)
from integrations.braze.delivery.settlement import Answered
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.promises import Promises

CUSTOMERS = 4
#: Objects of a kind in a request: so few that there are several requests at a time, to be started and settled together.
MAX_PER_ARRAY = 2
FAULTS = ({}, {}, {"status": 500}, {"status": 504, "apply": True}, {"close": "before"}, {"close": "after"})
APPLIED_IN_SILENCE = ({"status": 504, "apply": True}, {"close": "after"})
#: Where a flush dies: before and after its requests were started, on their way, and before, in and after settling.
CRASHES = (
    limiter.acquire,
    ledger.start_all,
    sender.send,
    settlement.settle_all,
    settlement._settle_entries,
    buffer.release,
)
CRASHES_OF_SETTLEMENT = (
    *(None, None),
    settlement._acted_on,
    settlement._settle_purchases,
    settlement.unpark,
    profiles.move,
)
_numbers = itertools.count()


class Crash(BaseException):
    """The process ends here: nothing that handles errors handles this."""


@contextmanager
def crashing_in(function: Callable[..., Any] | None) -> Iterator[None]:
    """The process ends when it comes to this function of a module; None: it does not."""
    if function is None:
        yield
        return
    with mock.patch.object(inspect.getmodule(function), function.__name__, side_effect=Crash):
        try:
            yield
        except Crash:
            return


class Machine(Promises, RuleBasedStateMachine):
    """One account per run; `sandbox` is set by the test.

    No rule has a precondition: what is in whose hands depends on time, too, and a repeated run has to be offered
    the same rules.
    """

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
        self.answered: list[Answered] = []
        self.numbers: Counter[str] = Counter()

    # --- what the shop does -----------------------------------------------------------------------------

    @rule(who=st.integers(0, CUSTOMERS - 1), name=st.sampled_from(["Ada", "Bea", "Cleo"]), tag=st.booleans())
    def edit(self, who: int, name: str, tag: bool) -> None:
        one = Customer.objects.get(pk=self.customers[who].pk)
        one.first_name, one.tags = name, {"vip": True} if tag else {}
        one.save()

    @rule(
        who=st.integers(0, CUSTOMERS - 1),
        name=st.sampled_from(["Dido", "Eve"]),
        fault=st.sampled_from(APPLIED_IN_SILENCE),
    )
    def waver(self, who: int, name: str, fault: dict[str, Any]) -> None:
        """Another name arrives, nobody knows of it, and then it is the old one again."""
        before = Customer.objects.get(pk=self.customers[who].pk).first_name
        for first_name in (name, before):
            one = Customer.objects.get(pk=self.customers[who].pk)
            one.first_name = first_name
            one.save()
            if first_name == name:
                self.send(fault)

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
            crashing_in(commits.count_commit if crash == "before the commit" else None),
            crashing_in(relay._push if crash == "after the commit" else None),
        ):
            relay.relay(self.account.pk)

    @rule()
    def push_again(self) -> None:
        flush.refill(self.account.pk)

    @rule(wanted=st.integers(1, 3), crash=st.sampled_from(["", "", "before the start", "after it"]))
    def start(self, wanted: int, crash: str) -> None:
        self.forget_waiting()
        claims = buffer.claim_some(self.account.pk, wanted)
        if not claims or crash == "before the start":
            return
        won = ledger.start_all([claim.id for claim in claims])
        if crash == "after it":
            return
        self.started += [claim.id for claim in claims if claim.id in won]
        buffer.release(self.account.pk, *(claim.id for claim in claims if claim.id not in won))

    @rule(fault=st.sampled_from(FAULTS))
    def deliver(self, fault: dict[str, Any]) -> None:
        if not self.started:
            return
        delivery = Delivery.objects.get(pk=self.started.pop(0))
        self.sandbox.faults.set([fault] if fault else [])
        body = zlib.decompress(bytes(delivery.body))
        self.answered.append(Answered(delivery.pk, *sender.deliver(self.settings, delivery.endpoint, body)))

    @rule(together=st.integers(1, 3), crash=st.sampled_from(CRASHES_OF_SETTLEMENT))
    def settle(self, together: int, crash: Callable[..., Any] | None) -> None:
        """Some answers in one transaction, which ends early where it crashes."""
        answers, self.answered = self.answered[:together], self.answered[together:]
        with crashing_in(crash):
            settlement.settle_all(self.account.pk, answers)
            buffer.release(self.account.pk, *(answer.delivery_id for answer in answers))

    @rule(fault=st.sampled_from(FAULTS))
    def send(self, fault: dict[str, Any]) -> None:
        """Relay and send without a break: what is done is behind the faults to come."""
        self.sandbox.faults.set([{**fault, "times": 1}] if fault else [])
        self.relay_whole()
        flush.refill(self.account.pk)
        flush.flush(self.account.pk)

    @rule(who=st.integers(0, CUSTOMERS - 1), fault=st.sampled_from(FAULTS), crash=st.sampled_from(CRASHES))
    def send_and_crash(self, who: int, fault: dict[str, Any], crash: Callable[..., Any]) -> None:
        """The flush as it is, with several requests in hand, ends at any of its steps; one must not go twice."""
        self.happen(who)
        self.sandbox.faults.set([{**fault, "times": 1}] if fault else [])
        self.relay_whole()
        flush.refill(self.account.pk)
        with crashing_in(crash):
            flush.flush(self.account.pk)

    def relay_whole(self) -> None:
        self.forget_waiting()
        relay.relay(self.account.pk)

    @rule()
    def die(self) -> None:
        """Every sender, at whatever it is."""
        self.started, self.answered = [], []

    @rule()
    def sweep(self) -> None:
        """The time of what died has passed, in both clocks: of all that was started and is in nobody's hands."""
        past = database_now() - timedelta(seconds=1)
        held = {*self.started, *(answer.delivery_id for answer in self.answered)}
        mine = Delivery.objects.filter(account=self.account, started_at__isnull=False, finished_at=None)
        dead = list(mine.exclude(pk__in=held).values_list("pk", flat=True))
        Delivery.objects.filter(pk__in=dead).update(deadline=past)
        buffer.release(self.account.pk, *dead)
        silent.settle()

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
        self.die()
        self.sweep()
        self.drain()
        self.check()
        before = self.sandbox.summary()["requests"]
        Customer.objects.filter(account=self.account).update(language="")
        self.drain()
        assert self.sandbox.summary()["requests"] == before  # nothing has changed, so nothing is sent

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

    def forget_waiting(self) -> None:
        BrazeState.objects.filter(account=self.account).update(backoff_until=None)


@pytest.mark.usefixtures("db", "redis_client")
def test_it_keeps_its_promises_whatever_happens_in_between(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django_settings, "BRAZE_EXTRA_ENDPOINTS", [sandbox.url])
    monkeypatch.setattr(Machine, "sandbox", sandbox, raising=False)
    for module in (compose, packing):
        monkeypatch.setattr(module, "MAX_PER_ARRAY", MAX_PER_ARRAY)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a run takes half a second: to shrink one, minutes
        ),
    )

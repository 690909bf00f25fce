"""An account with everything switched on, whose Braze is the sandbox; ways to move its changes along; what failed."""

import os
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from dev.ports import free_port
from integrations.braze.composing import relay as relaying
from integrations.braze.delivery import client, connection, traffic
from integrations.braze.delivery import flush as flushing
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.delivery import calling

KEY = "0f1e2d3c-test-key"
Sync = Callable[[], None]


@pytest.fixture(autouse=True)
def longest_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter may come to nothing: chance has no part in whether a test waits."""
    monkeypatch.setattr(traffic.random, "random", lambda: 0.999)


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Shop", slug="shop")


@pytest.fixture
def braze(
    sandbox: SandboxServer, account: Account, settings, redis_client, request: pytest.FixtureRequest
) -> Iterator[BrazeSettings]:
    """Settings with every toggle on, pointing at the sandbox. Whatever a test does, the books balance in the end."""
    settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url]
    made = BrazeSettings.objects.create(
        account=account,
        is_enabled=True,
        api_key=KEY,
        rest_endpoint=sandbox.url,
        attribute_gap_seconds=0,
        **dict.fromkeys(TOPICS, True),
    )
    yield made
    if request.node.get_closest_marker("made_up") is None:
        assert accounting.check(account.pk) == []


@pytest.fixture
def sync(account: Account, braze: BrazeSettings) -> Sync:
    """Relay and flush until nothing moves any more."""

    def run() -> None:
        while relaying.relay(account.pk) or flushing.refill(account.pk):
            if not flushing.flush(account.pk):
                return

    return run


@pytest.fixture
def one(account: Account, braze: BrazeSettings) -> Customer:
    return Customer.objects.create(account=account, external_id="c1", first_name="Ada")


@pytest.fixture
def change(account: Account, braze: BrazeSettings) -> Customer:
    """A customer with an event and an order: an attribute object, an event and two purchases."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value=Decimal("29.33"))
    return one


@pytest.fixture
def unknown(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> list[OutboxEntry]:
    """An order and two events that were applied, though the answer was lost."""
    BrazeSettings.objects.update(unknown_events="hold")
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    for kind in ("VISIT", "LOGIN"):
        Event.objects.create(account=account, customer=one, type=kind)
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value="29.33")
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    return list(OutboxEntry.objects.filter(status="unknown").order_by("pk"))


@pytest.fixture
def refused(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> OutboxEntry:
    """An event that Braze refused."""
    one = Customer.objects.create(account=account, external_id="c2")
    Event.objects.create(account=account, customer=one, type="POISON")
    sandbox.faults.add(status=400, contains="POISON", message="No <b>poison</b>, please")
    sync()
    sandbox.faults.clear()
    return OutboxEntry.objects.get(status="rejected")


@pytest.fixture
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy of this machine's, and no connection of another test's."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    calling.forget()
    yield
    client._session().close()
    calling.forget()


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture
def no_redis(settings) -> Iterator[None]:
    """A port where nobody listens."""
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    connection.client.cache_clear()
    connection.script.cache_clear()
    yield
    connection.client.cache_clear()
    connection.script.cache_clear()

"""A second vendor, thrown together and failing in every part, is no concern of Braze's delivery."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import flush
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import nudge, registry, subscriptions, sweep
from integrations.outbox.models import OutboxEntry, Topic
from masivo_braze.loyalty.models import Account, Customer, Event


class Faulty:
    """Wants everything; its rules, its mapping and its client raise."""

    name = "faulty"

    def __init__(self) -> None:
        self.attempts = 0

    def wants(self, account_id: int) -> frozenset[Topic]:
        return frozenset(Topic)

    def announce(self, account_ids: Collection[int]) -> None:
        self.client(account_ids)

    def nudge(self, account_id: int) -> None:
        self.attempts += 1
        for entry in OutboxEntry.objects.filter(account_id=account_id, integration=self.name):
            self.client(self.mapping(self.rules(entry)))

    def rules(self, entry: OutboxEntry) -> OutboxEntry:
        raise RuntimeError("rules")

    mapping = client = rules


@pytest.fixture
def faulty(account: Account) -> Iterator[Faulty]:
    integration = Faulty()
    registry.register(integration)
    subscriptions.refresh(integration, account.pk)
    yield integration
    registry.unregister(integration.name)


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Shop", slug="shop")


@pytest.fixture
def braze(account: Account, sandbox: SandboxServer, settings: Any, redis_client: Any) -> BrazeSettings:
    settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url]
    return BrazeSettings.objects.create(
        account=account, is_enabled=True, api_key="key", rest_endpoint=sandbox.url, **dict.fromkeys(TOPICS, True)
    )


def test_braze_is_delivered_to_beside_an_integration_that_fails(
    account: Account,
    braze: BrazeSettings,
    faulty: Faulty,
    sandbox: SandboxServer,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        one = Customer.objects.create(account=account, external_id="c1")
        Event.objects.create(account=account, customer=one, type="LOGIN")
    nudge.publish(account.pk)
    sweep.sweep()
    relay.relay(account.pk)
    flush.flush(account.pk)
    assert faulty.attempts >= 2
    assert sandbox.summary()["events"] == 1
    ends = OutboxEntry.objects.order_by("pk").values_list("integration", "kind", "status")
    assert sorted(ends) == [
        ("braze", "customer_created", "delivered"),
        ("braze", "event", "delivered"),
        ("faulty", "customer_created", "pending"),
        ("faulty", "event", "pending"),
    ]

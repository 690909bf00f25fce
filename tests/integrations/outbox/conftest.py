"""An account, and the means to say what an integration wants of it."""

from collections.abc import Callable, Iterator

import pytest

from integrations.outbox import nudge
from integrations.outbox.models import OutboxEntry, Subscription, Topic
from masivo_braze.loyalty.models import Account

Want = Callable[..., None]


@pytest.fixture
def account(db: None) -> Account:
    return Account.objects.create(name="Shop", slug="shop")


@pytest.fixture
def want(account: Account) -> Want:
    """Subscribe an integration to topics of the account."""

    def subscribe(*topics: Topic, integration: str = "braze") -> None:
        for topic in topics:
            Subscription.objects.create(account=account, integration=integration, topic=topic)

    return subscribe


@pytest.fixture
def want_all(want: Want) -> None:
    want(*Topic)


@pytest.fixture
def captured() -> Callable[[], list[tuple[str, str]]]:
    """Kind and customer of every entry, in order; those of the call before are not repeated."""
    seen: set[int] = set()

    def fresh() -> list[tuple[str, str]]:
        entries = [entry for entry in OutboxEntry.objects.order_by("pk") if entry.pk not in seen]
        seen.update(entry.pk for entry in entries)
        return [(entry.kind, entry.customer_external_id) for entry in entries]

    return fresh


@pytest.fixture
def nudged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Account ids as they are published to the relays."""
    published: list[int] = []
    monkeypatch.setattr(nudge, "publish", published.append)
    yield published

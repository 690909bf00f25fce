import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import giving_way
from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.delivery.giving_way.clock import Clock, people


@pytest.fixture
def other(sandbox: SandboxServer, braze: BrazeSettings) -> Account:
    made = Account.objects.create(name="Other", slug="other")
    toggles = {"is_enabled": True, "create_customers": True}
    BrazeSettings.objects.create(account=made, api_key="other", rest_endpoint=braze.rest_endpoint, **toggles)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(giving_way, "monotonic", lambda: clock.now)
    monkeypatch.setattr(giving_way, "_stand_still", clock.stand_still)
    return clock


@pytest.fixture
def at_work(other: Account, braze: BrazeSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other account has emptied its outbox, and is announced to be at work, for longer than anybody waits."""
    people(other)
    relay.relay(other.pk)
    monkeypatch.setattr(giving_way, "AT_WORK_MS", 60_000)
    giving_way.announce({other.pk})

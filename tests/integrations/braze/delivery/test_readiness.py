"""Whether an account may be sent to, and the words for why not."""

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet, MultiFernet

from integrations.braze.delivery import readiness
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account


def state(account: Account) -> tuple[str, str]:
    ready = readiness.of(account.pk)
    assert ready.is_ready == (ready.state == "healthy")
    assert readiness.not_ready([account.pk]) == (set() if ready.is_ready else {account.pk}), "asked for many at once"
    return ready.state, ready.detail


def test_it_is_healthy_where_nothing_is_wrong(account: Account, braze: BrazeSettings) -> None:
    assert state(account) == ("healthy", "")


def test_it_is_disabled_without_settings_and_when_switched_off(account: Account) -> None:
    assert state(account) == ("disabled", "")
    BrazeSettings.objects.create(account=account, api_key="k", rest_endpoint="https://rest.iad-01.braze.com")
    assert state(account) == ("disabled", "")


@pytest.mark.parametrize(
    ("field", "words"), [("api_key", "No API key yet."), ("rest_endpoint", "No REST endpoint yet.")]
)
def test_it_is_incomplete_while_something_is_missing(
    account: Account, braze: BrazeSettings, field: str, words: str
) -> None:
    BrazeSettings.objects.update(**{field: ""})
    assert state(account) == ("incomplete", words)


def test_it_is_incomplete_where_the_key_cannot_be_decrypted(account: Account, braze: BrazeSettings, settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    name, words = state(account)
    assert name == "incomplete"
    assert "cannot be decrypted" in words


def test_it_checks_the_allow_list_again_after_the_settings_were_saved(
    account: Account, braze: BrazeSettings, settings
) -> None:
    settings.BRAZE_EXTRA_ENDPOINTS = []
    name, words = state(account)
    assert name == "incomplete"
    assert "not a Braze REST host" in words


def test_it_refuses_braze_itself_where_the_environment_does(account: Account, braze: BrazeSettings, settings) -> None:
    BrazeSettings.objects.update(rest_endpoint="https://rest.iad-01.braze.com")
    assert state(account)[0] == "incomplete"
    assert "BRAZE_ALLOW_REAL_HOSTS" in state(account)[1]
    settings.BRAZE_ALLOW_REAL_HOSTS = True
    assert state(account) == ("healthy", "")


def test_it_is_paused_with_brazes_words(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Braze says: Invalid API key")
    assert state(account) == ("paused", "Braze says: Invalid API key")


def test_it_backs_off_until_the_time_has_come(account: Account, braze: BrazeSettings) -> None:
    until = database_now() + timedelta(minutes=1)
    BrazeState.objects.update(backoff_until=until, last_error="Braze answered 503")
    assert state(account) == ("backing off", "Braze answered 503")
    assert readiness.of(account.pk, until - timedelta(milliseconds=1)).state == "backing off"
    assert readiness.of(account.pk, until).state == "healthy"


def test_very_many_are_looked_through_without_decrypting_their_keys_again(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second, that took longer than everything else of a sweep."""
    assert readiness.not_ready([account.pk]) == set()
    monkeypatch.delattr(Fernet, "decrypt")
    monkeypatch.delattr(MultiFernet, "decrypt")
    assert readiness.not_ready([account.pk]) == set()

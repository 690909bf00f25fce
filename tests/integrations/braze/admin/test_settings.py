"""The settings page: the endpoint and the limits, and that saving puts the settings in force."""

from html import unescape

import pytest

from integrations.braze.composing import relay
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState, Delivery, Outcome
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status, Subscription
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.admin.settings_page import ADD, ENDPOINT, KEY, LIMITS, Page, errors, stored, warnings

# --- the REST endpoint and the limits -----------------------------------------------------------------


def test_it_stores_the_endpoint_as_a_bare_address(page: Page) -> None:
    page.save(rest_endpoint=" REST.iad-01.braze.com/users/track?x=1 ")
    assert stored().rest_endpoint == ENDPOINT


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("https://dashboard-01.braze.com", "address of Braze's dashboard"),
        ("https://sdk.iad-01.braze.com", "Braze's address for apps (SDK)"),
        ("http://rest.iad-01.braze.com", "must begin with https://"),
        ("https://example.com", "“example.com” is not a Braze REST host"),
        ("https://[", "not an address"),
    ],
)
def test_it_says_once_what_is_wrong_with_an_endpoint(page: Page, typed: str, words: str) -> None:
    found = errors(page.save(rest_endpoint=typed))
    assert len(found) == 1
    assert words in found[0]
    assert not BrazeSettings.objects.exists()


def test_it_keeps_the_stored_endpoint_when_a_wrong_one_is_typed(page: Page) -> None:
    page.save(rest_endpoint=ENDPOINT)
    page.save(rest_endpoint="https://example.com")
    assert stored().rest_endpoint == ENDPOINT


def test_it_hints_at_the_eu_host_after_saving(page: Page) -> None:
    text = page.save(rest_endpoint="https://rest.fra-01.braze.com", api_key=KEY)
    assert warnings(text) == ["Braze lists its FRA hosts under .eu: if calls fail, try https://rest.fra-01.braze.eu"]
    assert warnings(page.save(rest_endpoint="https://rest.fra-01.braze.eu")) == []


@pytest.mark.parametrize("field", ["calls_per_window", "window_seconds", "calls_per_hour"])
@pytest.mark.parametrize("typed", ["0", "-1", "many", "1.5", "9" * 40])
def test_it_refuses_limits_that_are_none(page: Page, field: str, typed: str) -> None:
    assert len(errors(page.save(**{field: typed}))) == 1


def test_it_refuses_a_window_of_more_than_an_hour(page: Page) -> None:
    """In which nothing more would be sent after one burst, for days or years."""
    assert errors(page.save(window_seconds="3601")) == ["Ensure this value is less than or equal to 3600."]
    assert errors(page.save(window_seconds="3600")) == []


@pytest.mark.parametrize("typed", ["<script>alert(1)</script>", "\x00", "https://" + "a" * 300, "%(host)s %s"])
def test_it_survives_anything_typed_into_the_endpoint(page: Page, typed: str) -> None:
    response = page.client.post(page.url, {"account": page.account.pk, "rest_endpoint": typed, **LIMITS})
    assert response.status_code == 200
    assert b"<script>alert" not in response.content


# --- saving puts it in force --------------------------------------------------------------------------


@pytest.mark.parametrize("toggle", TOPICS)
def test_it_puts_a_toggle_in_force_at_once(page: Page, toggle: str) -> None:
    page.save(is_enabled=True, **{toggle: True})
    assert list(Subscription.objects.values_list("topic", flat=True)) == [TOPICS[toggle]]
    page.save(is_enabled=True)
    assert not Subscription.objects.exists()


def test_it_resumes_a_paused_account_and_takes_back_unstarted_requests(
    page: Page, account: Account, braze: BrazeSettings
) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    relay.relay(account.pk)
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Braze says: Invalid API key")
    assert "Braze says: Invalid API key" in page.read()
    text = page.save(is_enabled=True, rest_endpoint=braze.rest_endpoint, create_customers=True)
    assert "Invalid API key" not in text
    assert BrazeState.objects.get().paused_at is None
    assert Delivery.objects.get().outcome == Outcome.DISSOLVED
    assert OutboxEntry.objects.get().status == Status.PENDING


def test_it_chooses_the_account_once(page: Page) -> None:
    assert 'name="account"' in page.read()
    page.save()
    assert 'name="account"' not in page.read()
    other = Account.objects.create(name="Other", slug="other")
    page.save(account=other.pk)
    assert stored().account == page.account


def test_it_refuses_second_settings_of_an_account(page: Page) -> None:
    page.save(api_key=KEY)
    response = page.client.post(ADD, {"account": page.account.pk, "api_key": KEY, **LIMITS})
    assert "already exists" in errors(unescape(response.content.decode()))[0]
    assert KEY not in response.content.decode()

"""The settings page: what an operator can type, what is made of it, what is said, and what is never shown."""

import logging
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from integrations.braze.admin.forms import cleaned_key
from integrations.braze.composing import relay
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings, BrazeState, Delivery, Outcome
from integrations.braze.models.account import PauseKind
from integrations.braze.models.fields import Undecryptable
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status, Subscription
from masivo_braze.loyalty.models import Account, Customer
from tests.console.two_accounts import person

KEY = "9c1d4f7e-0000-4000-8000-5b6c7d8ea1b2"
ENDPOINT = "https://rest.iad-01.braze.com"
LIMITS = {
    "batch_limit": "per_array",
    "calls_per_window": "3000",
    "window_seconds": "3",
    "calls_per_hour": "",
    "attribute_gap_seconds": "2",
    "unknown_events": "resend",
    "unknown_purchases": "hold",
}


class Page:
    """The settings page of one account, as a browser uses it: `save` submits the whole form."""

    def __init__(self, client: Client, account: Account) -> None:
        self.client, self.account = client, account

    @property
    def url(self) -> str:
        stored = BrazeSettings.objects.filter(account=self.account).first()
        return reverse("admin:braze_brazesettings_change", args=(stored.pk,)) if stored else ADD

    def read(self) -> str:
        return self._text(self.client.get(self.url))

    def save(self, **typed: Any) -> str:
        """What the page that follows says; a toggle is on where it is given as True."""
        data = {"account": self.account.pk, "api_key": "", "rest_endpoint": "", **LIMITS, **typed}
        data = {name: value for name, value in data.items() if value is not False} | {"_continue": "1"}
        return self._text(self.client.post(self.url, data, follow=True))

    def _text(self, response: Any) -> str:
        assert response.status_code == 200
        assert KEY not in response.content.decode()
        return unescape(response.content.decode())


ADD = "/admin/braze/brazesettings/add/"


@pytest.fixture
def page(admin_client: Client, account: Account, settings) -> Page:
    settings.BRAZE_ALLOW_REAL_HOSTS = True
    return Page(admin_client, account)


def stored() -> BrazeSettings:
    return BrazeSettings.objects.get()


def warnings(text: str) -> list[str]:
    return [words.strip() for words in re.findall(r'class="[^"]* bg-orange-100 [^"]*">(.*?)</div>', text, re.DOTALL)]


def errors(text: str) -> list[str]:
    return [error for found in re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text) for error in _items(found)]


def _items(html: str) -> list[str]:
    return re.findall(r"<li>(.*?)</li>", html)


# --- the API key ----------------------------------------------------------------------------------------


def test_it_stores_the_key_and_shows_no_more_than_its_end(page: Page) -> None:
    assert "No key is stored yet." in page.read()
    page.save(api_key=KEY, rest_endpoint=ENDPOINT)
    assert stored().api_key == KEY
    assert "A key ending in “a1b2” is stored" in page.read()
    assert re.search(r'<input type="password" name="api_key"(?![^>]*value=)', page.read())


def test_it_shows_nothing_of_a_short_key(page: Page) -> None:
    page.save(api_key="short-key")
    assert "A key is stored" in page.read()
    assert "-key”" not in page.read()


def test_it_keeps_the_stored_key_when_the_field_is_left_empty(page: Page) -> None:
    page.save(api_key=KEY, rest_endpoint=ENDPOINT)
    page.save(api_key="  ", rest_endpoint=ENDPOINT, sync_events=True)
    assert (stored().api_key, stored().sync_events) == (KEY, True)


def test_it_replaces_the_stored_key(page: Page) -> None:
    page.save(api_key=KEY)
    page.save(api_key="another-key-of-the-workspace", workspace="same")
    assert stored().api_key == "another-key-of-the-workspace"


def test_it_writes_the_key_into_no_log(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page.save(api_key=KEY, rest_endpoint=ENDPOINT)
    page.save(api_key="", rest_endpoint=ENDPOINT, sync_events=True)
    page.save(api_key=f"{KEY} {KEY}", rest_endpoint="https://example.com")
    entries = [f"{entry} {entry.change_message}" for entry in LogEntry.objects.order_by("pk")]
    assert KEY not in " ".join(entries) + caplog.text
    assert "API key" not in entries[1]  # it was not changed
    assert "Events" in entries[1]


def test_it_says_that_a_stored_key_cannot_be_decrypted_and_keeps_it(page: Page, settings) -> None:
    page.save(api_key=KEY, rest_endpoint=ENDPOINT, is_enabled=True)
    old = settings.FIELD_ENCRYPTION_KEYS
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "none of the keys in FIELD_ENCRYPTION_KEYS decrypts it" in page.read()
    assert "incomplete: The stored API key cannot be decrypted" in page.read()
    page.save(rest_endpoint=ENDPOINT, is_enabled=True)
    assert isinstance(stored().api_key, Undecryptable)
    settings.FIELD_ENCRYPTION_KEYS = old
    assert stored().api_key == KEY


@pytest.mark.parametrize(
    "typed",
    [
        f"  {KEY}\n",
        f'"{KEY}"',
        f"'{KEY}'",
        f"“{KEY}”",
        f"Bearer {KEY}",
        f"bearer  {KEY}",
        f'"Bearer {KEY}"',
        f"Authorization: Bearer {KEY}",
        f"Authorization: Bearer '{KEY}'",
    ],
)
def test_it_cleans_what_was_copied_along_with_the_key(page: Page, typed: str) -> None:
    page.save(api_key=typed)
    assert stored().api_key == KEY


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (f"key: {KEY}", "An API key has no spaces in it"),
        (f"{KEY}\t{KEY}", "An API key has no spaces in it"),
        (ENDPOINT, "This is an address, not an API key"),
        (f"ñ{KEY}", "letters, digits and dashes"),
        (f'a"{KEY}', "letters, digits and dashes"),
        ('""', "letters, digits and dashes"),
        ("k" * 501, "at most 500 characters"),
    ],
)
def test_it_refuses_what_cannot_be_a_key_without_repeating_it(page: Page, typed: str, words: str) -> None:
    found = errors(page.save(api_key=typed))
    assert len(found) == 1
    assert words in found[0]
    assert typed not in found[0]
    assert not BrazeSettings.objects.exists()


def test_it_asks_for_the_key_again_where_something_else_was_wrong(page: Page) -> None:
    page.save(api_key=KEY)
    found = errors(page.save(api_key="another-key-of-the-workspace", rest_endpoint="https://example.com"))
    assert [error for error in found if error.startswith("Paste the key again")]
    assert stored().api_key == KEY
    assert len(errors(page.save(rest_endpoint="https://example.com"))) == 1


def test_it_leaves_a_key_of_a_uuid_as_it_is() -> None:
    assert cleaned_key(KEY) == KEY


# --- the REST endpoint ----------------------------------------------------------------------------------


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


# --- saving puts it in force ----------------------------------------------------------------------------


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


# --- the state, in words --------------------------------------------------------------------------------


def shown(page: Page) -> str:
    found = re.search(r'>\s*State:?\s*</label>.*?<div class="readonly[^"]*">(.*?)</div>', page.read(), re.DOTALL)
    assert found
    return found[1].strip()


def test_it_shows_the_state_in_words(page: Page, account: Account, braze: BrazeSettings) -> None:
    assert shown(page) == "healthy"
    since = database_now().replace(2026, 11, 23, 18, 5)
    BrazeState.objects.update(backoff_until=database_now() + timedelta(minutes=1), last_error="Braze answered 503")
    assert re.fullmatch(r"backing off until [-0-9]+ [:0-9]+: Braze answered 503", shown(page))
    BrazeState.objects.update(paused_at=since, pause_reason="Invalid API key")
    assert shown(page).startswith(f"paused since {since:%Y-%m-%d %H:%M:%S}: Invalid API key.")
    assert "saving these settings resumes" in shown(page)
    BrazeSettings.objects.update(api_key="")
    assert shown(page) == "incomplete: No API key yet."
    BrazeSettings.objects.update(is_enabled=False)
    assert shown(page) == "disabled"


def test_it_promises_no_resumption_where_saving_does_not_resume(page: Page, braze: BrazeSettings) -> None:
    BrazeState.objects.update(
        paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason="Run braze_restored."
    )
    assert shown(page).endswith(": Run braze_restored.")
    page.save(is_enabled=True, rest_endpoint=braze.rest_endpoint)
    assert shown(page).endswith(": Run braze_restored.")


def test_it_accepts_settings_without_a_key_but_warns(page: Page, account: Account) -> None:
    text = page.save(is_enabled=True, create_customers=True)
    assert warnings(text) == ["Changes are captured, but nothing is sent until this is corrected: No API key yet."]
    Customer.objects.create(account=account, external_id="Ada")
    assert OutboxEntry.objects.get().status == Status.PENDING
    assert warnings(page.save(is_enabled=True, create_customers=True, api_key=KEY, rest_endpoint=ENDPOINT)) == []


def test_it_warns_that_nothing_is_switched_on(page: Page) -> None:
    text = page.save(is_enabled=True, api_key=KEY, rest_endpoint=ENDPOINT)
    assert warnings(text) == ["Nothing is captured: everything under “What is sent” is off."]


def test_it_does_not_say_that_changes_are_captured_where_none_are(page: Page) -> None:
    assert warnings(page.save(is_enabled=True)) == [
        "Nothing can be sent until this is corrected: No API key yet.",
        "Nothing is captured: everything under “What is sent” is off.",
    ]


def test_who_may_only_look_sees_the_endpoint_and_no_script_hides_it(account: Account, braze: BrazeSettings) -> None:
    client = Client()
    client.force_login(person("viewer", "Viewer", account))
    text = Page(client, account).read()
    assert braze.rest_endpoint in text
    assert "instance_choice" not in text


def test_it_lists_accounts_with_their_state(page: Page, account: Account, braze: BrazeSettings, admin_client) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Invalid API key")
    text = unescape(admin_client.get(reverse("admin:braze_brazesettings_changelist")).content.decode())
    assert "Shop" in text
    assert "Invalid API key" in text
    assert braze.api_key not in text


def test_it_explains_what_is_typed_and_ticked(page: Page) -> None:
    html = page.client.get(page.url).content.decode()
    assert "users.track and users.delete" in html
    assert "the attribute tag_[key]" in html
    assert "masivo_[audience]" in html


def test_it_links_to_the_records_of_the_account(page: Page, account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    other = Account.objects.create(name="Other", slug="other")
    OutboxEntry.objects.create(account=other, integration="braze", kind="event", customer_external_id="Bob")
    links = re.findall(r'<a href="([^"]+account__id__exact=\d+)">', page.read())
    assert len(links) == 4
    listed = [page.client.get(link).context["cl"].result_list for link in links]
    assert [entry.customer_external_id for entry in listed[0]] == ["Ada"]


def test_the_gap_between_changes_of_an_attribute_can_be_set(page: Page) -> None:
    page.save(attribute_gap_seconds="7.5")
    assert stored().attribute_gap_seconds == 7.5


def test_accounts_that_share_a_key_are_told_that_they_share_its_limit(page: Page) -> None:
    other = Account.objects.create(name="Sister shop", slug="sister")
    BrazeSettings.objects.create(account=other, api_key=KEY, rest_endpoint=ENDPOINT)
    words = "Shares its API key, and so its rate limit, with Sister shop"
    assert words in page.save(api_key=KEY, rest_endpoint=ENDPOINT)
    assert words not in page.save(api_key="another-key", rest_endpoint=ENDPOINT, workspace="same")
    BrazeSettings.objects.update(api_key="")
    assert words not in page.save(rest_endpoint=ENDPOINT)


def test_an_account_of_somebody_else_that_shares_the_key_is_not_named(
    page: Page, account: Account, client: Client
) -> None:
    other = Account.objects.create(name="Sister shop", slug="sister")
    BrazeSettings.objects.create(account=other, api_key=KEY, rest_endpoint=ENDPOINT)
    client.force_login(person("operator", "Operator", account))
    page.client = client
    text = page.save(api_key=KEY, rest_endpoint=ENDPOINT)
    assert "Shares its API key, and so its rate limit, with 1 other account:" in text
    assert "Sister shop" not in text


def test_an_account_that_switched_itself_to_fewer_objects_says_so(page: Page) -> None:
    page.save()
    BrazeSettings.objects.update(batch_limit="combined")
    BrazeState.objects.update(combined_at=database_now())
    assert "Switched itself to 75 objects a request" in page.read()
    page.save(batch_limit="per_array")
    assert "Switched itself" not in page.read()

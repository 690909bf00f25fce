"""Setting an account up: the instance, the key's end and age, whose another key is, and the history of it all."""

import html
import re
from datetime import timedelta
from unittest import mock

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError

from integrations.braze import tasks
from integrations.braze.integration import TOPICS
from integrations.braze.models import Backfill, BrazeProfile, BrazeSettings, BrazeState, endpoints
from integrations.braze.recovery import backfill
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.console.two_accounts import person
from tests.integrations.braze.admin.settings_page import KEY, Page, errors

US, EU = "https://rest.iad-01.braze.com", "https://rest.fra-01.braze.eu"
NEW_KEY = "4e5f6a7b-0000-4000-8000-9c0d1e2ff00d"


def stored() -> BrazeSettings:
    return BrazeSettings.objects.get()


# --- the instance ---------------------------------------------------------------------------------------


def test_it_offers_every_instance_with_its_region(page: Page) -> None:
    text = page.read()
    for words in ("US-01, United States: rest.iad-01.braze.com", "EU-02, European Union", "KR-01, South Korea"):
        assert words in text
    for instance in endpoints.INSTANCES:
        assert endpoints.normalised(instance.url) == instance.url


def test_it_stores_the_chosen_instance_and_shows_it_again(page: Page) -> None:
    page.save(instance_choice=EU)
    assert stored().rest_endpoint == EU
    assert f'<option value="{EU}" selected' in page.read()
    page.save(instance_choice=EU, sync_events=True)
    assert (stored().rest_endpoint, stored().sync_events) == (EU, True)


def test_it_takes_another_host_of_the_pattern(page: Page) -> None:
    page.save(instance_choice="other", rest_endpoint="rest.us-11.braze.com")
    assert stored().rest_endpoint == "https://rest.us-11.braze.com"
    assert '<option value="other" selected' in page.read()
    page.save(instance_choice=US, rest_endpoint="https://rest.us-11.braze.com", workspace="another")
    assert stored().rest_endpoint == US  # what was changed counts


def test_it_refuses_an_instance_that_is_none(page: Page) -> None:
    assert errors(page.save(instance_choice="https://example.com"))
    assert not BrazeSettings.objects.exists()


# --- what is shown of the key ---------------------------------------------------------------------------


def test_it_shows_the_key_s_end_and_when_it_changed(page: Page) -> None:
    page.save(api_key=KEY)
    since = stored().key_changed_at
    assert since is not None
    assert f"A key ending in “a1b2” is stored since {since:%Y-%m-%d %H:%M}" in page.read()
    page.save(sync_events=True)
    assert stored().key_changed_at == since
    page.save(api_key=NEW_KEY, workspace="same")
    assert (stored().key_ending, stored().key_changed_at > since) == ("f00d", True)


@pytest.mark.parametrize("way", ["save", "update_fields", "update"])
def test_the_end_is_the_stored_key_s_however_it_is_written(account: Account, way: str) -> None:
    settings = BrazeSettings.objects.create(account=account, api_key=KEY)
    if way == "update":
        BrazeSettings.objects.update(api_key=NEW_KEY)
    else:
        settings.api_key = NEW_KEY
        settings.save(**({"update_fields": ["api_key"]} if way == "update_fields" else {}))
    assert (stored().api_key, stored().key_ending) == (NEW_KEY, "f00d")
    BrazeSettings.objects.update(api_key="")
    assert stored().key_ending == ""


def test_the_end_of_a_key_that_cannot_be_read_stays(page: Page, settings) -> None:
    page.save(api_key=KEY)
    BrazeSettings.objects.update(key_changed_at=stored().key_changed_at - timedelta(days=1))
    since = stored().key_changed_at
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    page.save(sync_events=True)
    assert (stored().key_ending, stored().key_changed_at) == ("a1b2", since)
    assert "A key ending in “a1b2” is stored, but none of the keys" in page.read()


# --- another key or endpoint ----------------------------------------------------------------------------


@pytest.fixture
def mirrored(page: Page, account: Account) -> BrazeProfile:
    """An account with a key and an endpoint whose workspace is known to hold something."""
    page.save(api_key=KEY, instance_choice=US, is_enabled=True, create_customers=True)
    return BrazeProfile.objects.create(account=account, external_id="Ada", attributes={"first_name": "Ada"})


CHANGES = [{"api_key": NEW_KEY, "instance_choice": US}, {"instance_choice": EU}]


@pytest.mark.parametrize("change", CHANGES)
def test_it_asks_whose_another_key_or_endpoint_is(page: Page, mirrored: BrazeProfile, change) -> None:
    found = errors(page.save(**change))
    assert "Say which workspace the new key or endpoint belongs to: it decides what is sent next." in found
    assert (stored().api_key, stored().rest_endpoint) == (KEY, US)


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_workspace_keeps_the_mirror(page: Page, mirrored: BrazeProfile, change) -> None:
    page.save(**change, workspace="same")
    assert BrazeProfile.objects.get() == mirrored
    assert BrazeState.objects.get().mirrored_endpoint == change["instance_choice"]


@pytest.mark.parametrize("change", CHANGES)
def test_another_workspace_forgets_the_mirror_and_offers_a_resend(
    page: Page,
    mirrored: BrazeProfile,
    change,
) -> None:
    text = page.save(**change, workspace="another")
    assert not BrazeProfile.objects.exists()
    assert f'href="{reverse("admin:braze_brazesettings_resend", args=[stored().pk])}"' in text
    assert "Send everything to the new workspace" in text


def test_a_toggle_asks_nothing_and_keeps_the_mirror(page: Page, mirrored: BrazeProfile) -> None:
    assert errors(page.save(instance_choice=US, workspace="another", sync_events=True)) == []
    assert BrazeProfile.objects.get() == mirrored


# --- a full resend --------------------------------------------------------------------------------------


def test_it_captures_everything_in_the_background(
    page: Page,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    page.save(api_key=KEY, instance_choice=US, is_enabled=True, create_customers=True)
    url = reverse("admin:braze_brazesettings_resend", args=[stored().pk])
    assert "Send everything" in page.client.get(url).content.decode()
    sent: list[int] = []
    monkeypatch.setattr(tasks.backfill, "delay", sent.append)
    page.client.post(url)
    assert sent == [account.pk]
    tasks.backfill(account.pk)
    assert OutboxEntry.objects.get().customer_external_id == "Ada"
    assert LogEntry.objects.order_by("pk").last().change_message == "Sent everything the account has"


def test_a_resend_that_is_under_way_says_how_far_it_has_come(
    page: Page,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes on by itself when Redis can be reached again."""
    monkeypatch.setattr(tasks.backfill, "delay", mock.Mock(side_effect=OperationalError))
    monkeypatch.setattr(backfill, "CHUNK", 2)
    monkeypatch.setattr(backfill, "SLICE_SECONDS", 0)
    for name in ("Ada", "Bea", "Cy"):
        Customer.objects.create(account=account, external_id=name)
    page.save(api_key=KEY, instance_choice=US, is_enabled=True, create_customers=True)
    url = reverse("admin:braze_brazesettings_resend", args=[stored().pk])
    page.client.post(url)
    backfill._go_on(account.pk)
    assert "of customers, 2 of 2 seen so far" in " ".join(page.client.get(url).content.decode().split())


def test_it_says_so_where_nothing_would_be_sent(page: Page) -> None:
    page.save()
    text = page.client.get(reverse("admin:braze_brazesettings_resend", args=[stored().pk])).content.decode()
    assert "is synced: enable Braze" in text


def test_it_begins_also_where_redis_is_down(
    page: Page,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page.save()

    def refuse(account_id: int) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(tasks.backfill, "delay", refuse)
    url = reverse("admin:braze_brazesettings_resend", args=[stored().pk])
    assert "is being captured" in page.client.post(url, follow=True).content.decode()
    assert Backfill.objects.get().account == account


# --- history --------------------------------------------------------------------------------------------


def test_the_history_has_old_and_new_values_and_never_the_key(page: Page, admin_client: Client) -> None:
    page.save(api_key=KEY, instance_choice=US)
    page.save(instance_choice=EU, api_key=NEW_KEY, workspace="same", sync_events=True, calls_per_hour="5000")
    entry = LogEntry.objects.order_by("pk").last()
    assert entry.user.username == "admin"
    assert entry.change_message == (
        f"API key replaced; REST endpoint: {US} → {EU}; Events: off → on; "
        "Calls per hour: nothing → 5000; of the same workspace"
    )


def test_the_history_says_choices_as_the_page_does(page: Page) -> None:
    page.save()
    page.save(unknown_events="hold")
    words = LogEntry.objects.order_by("pk").last().change_message
    assert words.startswith("Events of unknown outcome: send again (may arrive twice, never lost) → hold until")


def test_who_may_only_look_reads_the_same_sentences(account: Account, braze: BrazeSettings) -> None:
    """Read-only fields show their help as HTML: nothing in it may look like a tag."""
    client = Client()
    client.force_login(person("viewer", "Viewer", account))
    seen = client.get(reverse("admin:braze_brazesettings_change", args=(braze.pk,))).content.decode()
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", "", seen)).split())
    for name in TOPICS:
        assert BrazeSettings._meta.get_field(name).help_text in shown

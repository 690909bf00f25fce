"""What the settings page says about an account: its state, what is amiss, and what waits for a decision."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

from django.test import Client
from django.urls import reverse

from integrations.braze.account import steering
from integrations.braze.console import health
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.models.account import PauseKind
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer
from tests.console.two_accounts import person
from tests.integrations.braze.admin.settings_page import ENDPOINT, KEY, Page, stored, warnings
from tests.integrations.braze.failed_syncs import text_of


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


def test_an_account_that_stands_still_is_not_called_healthy(
    page: Page, account: Account, braze: BrazeSettings, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    """Health said “standing still … Are the workers running?” of an account that its settings called healthy."""
    old = database_now() - timedelta(minutes=5)
    OutboxEntry.objects.create(account=account, integration="braze", kind="event", created_at=old)
    (standing,) = health.overview([account], database_now())
    assert standing.words.startswith("standing still: 1 waiting")
    assert unescape(shown(page)) == standing.words
    others = [Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}") for number in range(30)]
    for other in others:
        BrazeSettings.objects.create(account=other, is_enabled=True, api_key="k", rest_endpoint=ENDPOINT)
    with django_assert_max_num_queries(30):
        text = text_of(admin_client.get("/admin/braze/brazesettings/"))
    assert text.count("standing still: 1 waiting") == 1
    assert text.count("healthy") == len(others)


def test_it_says_who_paused_the_account_and_what_ends_that(page: Page, account: Account, braze: BrazeSettings) -> None:
    steering.pause(account.pk, "anna", "a campaign")
    words = f"paused by anna: a campaign, since {BrazeState.objects.get().held_at:%Y-%m-%d %H:%M:%S}. Nothing is lost;"
    assert shown(page) == f"{words} “Resume” on its Health page ends this."


def test_it_does_not_promise_that_saving_ends_what_a_person_has_paused(
    page: Page, account: Account, braze: BrazeSettings
) -> None:
    """Braze refuses while somebody has paused the account: saving ends the refusal, and the account stays paused."""
    steering.pause(account.pk, "anna", "a campaign")
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.REFUSED, pause_reason="Invalid API key")
    assert "saving these settings resumes" not in shown(page)
    assert "Invalid API key. Nothing is lost. It is also paused by anna: a campaign, since" in shown(page)
    assert shown(page).endswith("“Resume” on its Health page ends both.")
    (standing,) = health.overview([account], database_now())
    assert standing.words.startswith("paused (also paused by anna: a campaign): Braze refused on")
    page.save(is_enabled=True, rest_endpoint=braze.rest_endpoint)
    assert shown(page).startswith("paused by anna: a campaign, since")


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


def test_the_settings_page_leads_to_what_waits_for_a_decision(
    unknown: list[OutboxEntry], braze: BrazeSettings, admin_client: Client
) -> None:
    page = reverse("admin:braze_brazesettings_change", args=(braze.pk,))
    assert "4 to decide about" in text_of(admin_client.get(page))


def test_the_settings_page_explains_a_restored_database(
    account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    page = reverse("admin:braze_brazesettings_change", args=(braze.pk,))
    assert "braze_restored" not in text_of(admin_client.get(page))
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason="Lost commits.")
    assert "python manage.py braze_restored --account shop --since" in text_of(admin_client.get(page))
    assert "not settled when this was noticed, and those that Braze had refused" in text_of(admin_client.get(page))
    BrazeState.objects.update(pause_kind=PauseKind.REFUSED)
    assert "braze_restored" not in text_of(admin_client.get(page))

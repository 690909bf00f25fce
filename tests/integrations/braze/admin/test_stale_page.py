"""A settings page that was opened before somebody else saved undoes nothing of theirs."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from integrations.braze.models import BrazeSettings
from masivo_braze.loyalty.models import Account
from tests.console.two_accounts import person
from tests.integrations.braze.admin.settings_page import KEY, Page, stored


@pytest.fixture
def page(admin_client: Client, account: Account) -> Page:
    return Page(admin_client, account)


def shown_fields(page: Page) -> dict[str, str]:
    """What the page posts beside what a person types."""
    found = re.search(r'<input type="hidden" name="made_with" value="([^"]+)"', page.read())
    assert found
    return {"made_with": found[1]}


def test_a_page_that_is_older_than_a_change_does_not_undo_it(page: Page) -> None:
    page.save(is_enabled=True, sync_purchases=True)
    stale = shown_fields(page)
    page.save(is_enabled=True, **shown_fields(page))
    text = page.save(is_enabled=True, sync_purchases=True, attribute_gap_seconds="7.5", **stale)
    assert (
        "Nothing was saved: these settings have changed since this page was opened. Purchases: on → off. "
        "Open the page again, and make your change there."
    ) in text
    assert (stored().sync_purchases, stored().attribute_gap_seconds) == (False, 2)
    assert LogEntry.objects.count() == 2


def test_a_page_that_is_older_than_another_key_does_not_replace_it(page: Page) -> None:
    page.save(api_key=KEY)
    stale = shown_fields(page)
    page.save(api_key="another-key-of-the-workspace", workspace="same")
    text = page.save(api_key="a-third-key-of-the-workspace", workspace="same", **stale)
    assert "since this page was opened. API key replaced." in text
    assert stored().api_key == "another-key-of-the-workspace"


def test_a_page_that_undoes_nothing_is_saved(page: Page) -> None:
    """As where Save is pressed twice: the second time, everything is as it is typed."""
    page.save(is_enabled=True)
    stale = shown_fields(page)
    for _ in range(2):
        assert "Nothing was saved" not in page.save(is_enabled=True, sync_events=True, **stale)
    assert stored().sync_events


def test_a_page_whose_beginning_nobody_can_read_is_opened_again(page: Page) -> None:
    page.save()
    assert "Open the page again" in page.save(sync_events=True, made_with="anything")
    assert not stored().sync_events


def test_who_may_only_look_posts_nothing(account: Account, braze: BrazeSettings) -> None:
    client = Client()
    client.force_login(person("viewer", "Viewer", account))
    assert "made_with" not in Page(client, account).read()

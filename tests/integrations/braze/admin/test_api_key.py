"""The API key on the settings page: what can be typed, what is made of it, and that nothing of it is shown again."""

import logging
import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry

from integrations.braze.admin.forms import cleaned_key
from integrations.braze.models import BrazeSettings
from integrations.braze.models.fields import Undecryptable
from tests.integrations.braze.admin.settings_page import ENDPOINT, KEY, Page, errors, stored


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

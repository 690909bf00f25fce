"""The Health pages over the admin: what they show, and what can be done there by whom."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from integrations.braze.account import steering
from integrations.braze.delivery import readiness
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.console.pages import HEALTH, client_of
from tests.integrations.braze.failed_syncs import text_of


def test_health_names_each_account_and_its_state(ada: Customer, account: Account, admin_client: Client) -> None:
    Account.objects.create(name="Empty", slug="empty")
    page = text_of(admin_client.get(HEALTH))
    assert "healthy" in page and "not set up yet" in page
    assert "healthy" in text_of(admin_client.get(f"{HEALTH}*/now/"))
    for path in ("shop/", "shop/?period=day", "shop/now/?period=week", "empty/"):
        assert admin_client.get(HEALTH + path).status_code == 200


def test_an_account_may_have_any_slug(braze: BrazeSettings, account: Account, admin_client: Client) -> None:
    """Also one that is a word of the pages' own addresses."""
    for word in ("now", "act", "account"):
        Account.objects.create(name=f"The shop called {word}", slug=word)
        page = text_of(admin_client.get(f"{HEALTH}{word}/"))
        assert f"Health of The shop called {word}" in page
        assert 'id="state"' in text_of(admin_client.get(f"{HEALTH}{word}/now/"))


def test_of_many_accounts_those_that_need_somebody_are_on_the_first_page(
    ada: Customer, account: Account, many: int, admin_client: Client
) -> None:
    steering.pause(account.pk, "anna")
    first, second = admin_client.get(HEALTH), admin_client.get(f"{HEALTH}*/now/", {"page": "2"})
    assert "paused by anna" in text_of(first) and "Accounts 1 to 200 of 205" in text_of(first)
    assert "1 attributes, 1 events, 1 purchases" in text_of(first)  # of all accounts
    assert first.context["standings"][0].account == account
    assert "Accounts 201 to 205 of 205" in text_of(second)
    shown = [one.account.slug for page in (first, second) for one in page.context["standings"]]
    assert len(shown) == len(set(shown)) == many
    for beyond in ("99", "0", "-1", "x"):
        assert admin_client.get(HEALTH, {"page": beyond}).context["standings"]


def test_few_accounts_are_one_page(ada: Customer, admin_client: Client) -> None:
    assert "Accounts 1 to" not in text_of(admin_client.get(HEALTH))


def test_health_counts_what_was_delivered(ada: Customer, admin_client: Client) -> None:
    page = admin_client.get(f"{HEALTH}shop/")
    health = page.context["health"]
    assert health.today["delivered"] == OutboxEntry.objects.filter(status="delivered").count() == 4
    assert sum(page.context["chart"]["objects"]["events"]) == 1
    assert health.delay.of == 4
    assert health.budget.mine == 1
    assert "clock hour" not in text_of(page)
    BrazeSettings.objects.update(calls_per_hour=7)
    assert re.search(r"In this clock hour \d, of 7 allowed", text_of(admin_client.get(f"{HEALTH}shop/")))


def act(client: Client, word: str, reason: str = "") -> str:
    return text_of(client.post(f"{HEALTH}shop/act/", {"action": word, "reason": reason}, follow=True))


def test_health_tells_the_last_answer_also_after_days(ada: Customer, admin_client: Client) -> None:
    long_ago = database_now() - timedelta(days=3)
    Delivery.objects.update(created_at=long_ago, started_at=long_ago, finished_at=long_ago)
    for path in ("", "shop/"):
        assert f"{long_ago:%Y-%m-%d %H:%M:%S}" in text_of(admin_client.get(HEALTH + path))


@pytest.mark.parametrize("word", ["pause", "resume", "flush"])
def test_an_action_is_carried_out_and_remembered(
    word: str, account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    if word == "resume":
        steering.pause(account.pk, "anna")
    page = text_of(admin_client.post(f"{HEALTH}shop/act/", {"action": word, "reason": "a test"}, follow=True))
    assert readiness.of(account.pk).state == ("paused" if word == "pause" else "healthy")
    assert LogEntry.objects.get().object_id == str(braze.pk)
    if word == "pause":
        assert "paused by admin: a test, on" in page


def test_a_second_pause_says_who_paused_first(account: Account, braze: BrazeSettings, admin_client: Client) -> None:
    steering.pause(account.pk, "anna", "a campaign")
    page = act(admin_client, "pause", "another reason")
    assert "Nothing has changed: it was already paused by anna: a campaign" in page
    assert "another reason" not in page
    assert not LogEntry.objects.exists()


def test_what_is_not_paused_is_not_resumed(account: Account, braze: BrazeSettings, admin_client: Client) -> None:
    page = act(admin_client, "resume")
    assert "Nothing has changed: it is not paused." in page and "Resumed." not in page
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("settings_are", "why"),
    [
        ({}, "paused by anna: a campaign"),
        ({"api_key": ""}, "No API key yet."),
        ({"is_enabled": False}, "The integration is switched off."),
    ],
)
def test_what_cannot_be_sent_is_not_said_to_be_tried(
    settings_are: dict[str, Any], why: str, account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    BrazeSettings.objects.update(**settings_are)
    steering.pause(account.pk, "anna", "a campaign")
    page = act(admin_client, "flush")
    assert f"Nothing is tried: {why}" in page and "is tried now" not in page
    assert not LogEntry.objects.exists()


def test_nothing_is_said_to_be_tried_while_redis_is_stopped(
    account: Account, braze: BrazeSettings, no_redis: None, admin_client: Client
) -> None:
    page = act(admin_client, "flush")
    assert "Nothing is tried: Redis does not answer." in page and "is tried now" not in page


def test_only_who_may_change_health_pauses(account: Account, braze: BrazeSettings) -> None:
    viewer, operator = client_of("Viewer", account), client_of("Operator", account)
    assert "What you can do" not in text_of(viewer.get(f"{HEALTH}shop/"))
    assert viewer.post(f"{HEALTH}shop/act/", {"action": "pause"}).status_code == 403
    assert readiness.of(account.pk).state == "healthy"
    assert operator.get(f"{HEALTH}shop/act/").status_code == 403
    assert operator.post(f"{HEALTH}shop/act/", {"action": "else"}).status_code == 403
    assert operator.post(f"{HEALTH}shop/act/", {"action": "pause"}).status_code == 302
    assert readiness.of(account.pk).state == "paused"


def test_the_way_through_a_restored_database_is_told(
    account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind="restored", pause_reason="Lost commits.")
    page = text_of(admin_client.get(f"{HEALTH}shop/"))
    assert "python manage.py braze_restored --account shop --since" in page
    assert "not settled when this was noticed, and those that Braze had refused" in " ".join(page.split())
    page = text_of(admin_client.post(f"{HEALTH}shop/act/", {"action": "resume"}, follow=True))
    assert "braze_restored` is what ends this pause" in page
    assert not LogEntry.objects.exists()

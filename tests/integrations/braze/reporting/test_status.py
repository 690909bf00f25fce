"""What `braze_status` tells of each account, for people and for scripts."""

import json
from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.outbox.clock import database_now
from integrations.outbox.models import Status
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.commands import entry, run, status

KEYS = ["account", "state", "pending", "buffered", "unknown", "rejected", "delivered", "skipped", "discarded"]


@pytest.mark.made_up
def test_it_reports_the_counts_of_each_status_in_the_agreed_shape(account: Account, braze: BrazeSettings) -> None:
    for number, name in enumerate(Status.values, start=1):
        for _ in range(number):
            entry(account, status=name)
    entry(account, integration="another", status=Status.PENDING)
    line = status()
    assert list(line) == [*KEYS, "oldest_pending_seconds", "oldest_buffered_seconds"]
    assert {name: line[name] for name in Status.values} == {name: n for n, name in enumerate(Status.values, start=1)}


def test_it_reports_how_long_the_oldest_entry_has_been_pending(account: Account, braze: BrazeSettings) -> None:
    assert status()["oldest_pending_seconds"] == 0
    entry(account, created_at=database_now() - timedelta(seconds=90))
    entry(account, created_at=database_now() - timedelta(seconds=30))
    for settled in (Status.DELIVERED, Status.SKIPPED):  # before and after "pending" in the alphabet
        entry(account, created_at=database_now() - timedelta(hours=1), status=settled)
    assert 90 <= status()["oldest_pending_seconds"] < 100


@pytest.mark.made_up
def test_it_reports_how_long_the_oldest_request_has_waited(account: Account, braze: BrazeSettings) -> None:
    """To be sent, or for an answer that is overdue: nothing is pending then."""
    now = database_now()
    in_flight = {"started_at": now, "deadline": now + timedelta(minutes=1)}
    for age, fields in ((90, in_flight), (80, {"finished_at": now}), (70, {}), (60, {})):
        Delivery.objects.create(account=account, endpoint="track", created_at=now - timedelta(seconds=age), **fields)
    line = status()
    assert (line["state"], line["oldest_pending_seconds"]) == ("healthy", 0)
    assert 70 <= line["oldest_buffered_seconds"] < 80
    Delivery.objects.filter(started_at=now).update(deadline=now - timedelta(seconds=30))
    assert 90 <= status()["oldest_buffered_seconds"] < 100
    why = run("braze_status").splitlines()[-1]
    assert why.startswith("shop: the oldest request has waited for 9") and "Are the workers running" in why


@pytest.mark.made_up
def test_it_says_that_requests_wait_for_redis(account: Account, braze: BrazeSettings, no_redis: None) -> None:
    long_ago = database_now() - timedelta(minutes=5)
    Delivery.objects.create(account=account, endpoint="track", created_at=long_ago)
    assert run("braze_status").splitlines()[-1].endswith(" s. Redis cannot be used (ConnectionError).")


def test_it_reports_an_account_without_settings_not_at_all(account: Account, braze: BrazeSettings) -> None:
    Account.objects.create(name="Other", slug="other")
    assert [line["account"] for line in json.loads(run("braze_status", "--json"))["accounts"]] == ["shop"]


def test_it_asks_the_database_as_often_for_many_accounts_as_for_one(account: Account, braze: BrazeSettings) -> None:
    with CaptureQueriesContext(database) as one:
        run("braze_status", "--json")
    for number in range(5):
        other = Account.objects.create(name="Other", slug=f"other-{number}")
        BrazeSettings.objects.create(account=other, is_enabled=True, api_key="k", rest_endpoint=braze.rest_endpoint)
    with CaptureQueriesContext(database) as six:
        assert len(json.loads(run("braze_status", "--json"))["accounts"]) == 6
    assert len(six) == len(one)


def test_it_reports_each_state_by_its_name(account: Account, braze: BrazeSettings) -> None:
    assert status()["state"] == "healthy"
    BrazeState.objects.update(backoff_until=database_now() + timedelta(minutes=1))
    assert status()["state"] == "backing off"
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Invalid API key")
    assert status()["state"] == "paused"
    BrazeSettings.objects.update(rest_endpoint="")
    assert status()["state"] == "incomplete"
    BrazeSettings.objects.update(is_enabled=False)
    assert status()["state"] == "disabled"


def test_it_says_in_the_table_why_an_account_is_paused(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Braze says: Invalid API key")
    entry(account)
    heading, line, _, why = run("braze_status").splitlines()
    assert heading.split()[:3] == ["account", "state", "pending"]
    assert line.split()[:3] == ["shop", "paused", "1"]
    assert why == "shop is paused: Braze says: Invalid API key"


def test_it_says_so_where_no_account_has_settings(db: None) -> None:
    assert json.loads(run("braze_status", "--json")) == {"accounts": []}
    assert "No account" in run("braze_status")

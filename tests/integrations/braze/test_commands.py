"""The commands an operator and a script run: braze_status, braze_drain, braze_backfill."""

import io
import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from integrations.braze.composing import relay
from integrations.braze.delivery import ledger
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import backfill
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

KEYS = ["account", "state", "pending", "buffered", "unknown", "rejected", "delivered", "skipped", "discarded"]


def run(command: str, *arguments: str) -> str:
    output = io.StringIO()
    call_command(command, *arguments, stdout=output)
    return output.getvalue()


def refused(command: str, *arguments: str) -> tuple[str, CommandError]:
    output = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(command, *arguments, stdout=output)
    return output.getvalue(), caught.value


def status(slug: str = "shop") -> dict[str, Any]:
    accounts = json.loads(run("braze_status", "--json"))["accounts"]
    return next(line for line in accounts if line["account"] == slug)


def entry(account: Account, **fields: Any) -> OutboxEntry:
    defaults = {"integration": "braze", "kind": Kind.CUSTOMER_UPDATED, "customer_external_id": "c-1"}
    return OutboxEntry.objects.create(account=account, **(defaults | fields))


# --- braze_status ---------------------------------------------------------------------------------------


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


# --- braze_drain ----------------------------------------------------------------------------------------


def test_it_drains_what_is_pending(account: Account, braze: BrazeSettings, sandbox: SandboxServer) -> None:
    Customer.objects.create(account=account, external_id="Ada", first_name="Ada")
    assert run("braze_drain") == "shop: drained\n"
    assert sandbox.profile("Ada")["standard_attributes"]["first_name"] == "Ada"
    assert (status()["pending"], status()["buffered"], status()["delivered"]) == (0, 0, 1)


def test_it_drains_only_the_account_that_was_named(account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    other = Account.objects.create(name="Other", slug="other")
    BrazeSettings.objects.create(account=other)
    assert run("braze_drain", "--account", "other") == "other: drained\n"
    assert status()["pending"] == 1


def test_it_refuses_to_drain_an_account_that_is_not_there(db: None) -> None:
    assert "There is no account “shpo”" in str(refused("braze_drain", "--account", "shpo")[1])


def test_it_says_so_where_an_account_has_no_settings(account: Account) -> None:
    assert run("braze_drain", "--account", "shop") == "shop: has no Braze settings, so that nothing of it is sent\n"


@pytest.mark.parametrize("no_seconds", ["nan", "inf", "-1", "1e12", "soon"])
def test_it_refuses_a_time_that_is_none(account: Account, braze: BrazeSettings, no_seconds: str) -> None:
    assert "argument --timeout: expected seconds from 0 up" in str(refused("braze_drain", f"--timeout={no_seconds}")[1])


def test_it_waits_for_a_backoff_to_end(account: Account, braze: BrazeSettings, sandbox: SandboxServer) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    BrazeState.objects.update(backoff_until=database_now() + timedelta(seconds=0.5), last_error="503")
    run("braze_drain")
    assert sandbox.profile("Ada")


def test_it_ends_at_once_naming_an_account_that_cannot_send(account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Invalid API key")
    before = database_now()
    output, error = refused("braze_drain", "--timeout", "30")
    assert error.returncode == 1
    assert "1 change cannot be sent, the account is paused: Invalid API key" in output
    assert database_now() - before < timedelta(seconds=5)


def test_it_is_drained_where_a_paused_account_has_nothing_left(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Invalid API key")
    assert run("braze_drain") == "shop: drained\n"


def test_it_sends_one_account_although_another_cannot(account: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Other", slug="a-first")
    BrazeSettings.objects.create(account=other, is_enabled=True, create_customers=True)
    for owner in (other, account):
        Customer.objects.create(account=owner, external_id="Ada")
    output, _ = refused("braze_drain")
    assert "a-first: 1 change cannot be sent, the account is incomplete: No API key yet." in output
    assert "shop: drained" in output
    assert status()["delivered"] == 1


def test_it_names_what_waits_by_rule(account: Account, braze: BrazeSettings, settings) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 0
    Customer.objects.create(account=account, external_id="Ada").delete()
    run("braze_drain")
    again = Customer.objects.create(account=account, external_id="Ada")
    Event.objects.create(account=account, customer=again, type="VISIT")
    output = run("braze_drain", "--timeout", "30")  # the wait is of five minutes
    assert "shop: 2 changes waiting by rule" in output
    assert re.search(r"customer created of customer Ada: waits until .* UTC: Braze may still be deleting", output)
    assert status()["pending"] == 2


def test_it_does_not_blame_a_deletion_for_what_waits_for_another_reason(
    account: Account, braze: BrazeSettings, settings
) -> None:
    BrazeSettings.objects.update(attribute_gap_seconds=300)
    settings.BRAZE_DELETE_AFTER_SECONDS = 300
    ada, bob = (Customer.objects.create(account=account, external_id=name) for name in ("Ada", "Bob"))
    run("braze_drain")
    ada.first_name = "Ada"
    ada.save()
    run("braze_drain")
    ada.first_name = "Augusta"
    ada.save()
    bob.delete()
    output = run("braze_drain", "--timeout", "5")
    assert re.search(r"updated of customer Ada: waits until .* UTC: the same attribute was changed", output)
    assert re.search(r"deleted of customer Bob: waits until .* UTC: the customer's last request", output)


def test_it_names_what_came_after_a_change_that_waits(account: Account, braze: BrazeSettings) -> None:
    entry(account, due_at=database_now() + timedelta(minutes=5))
    entry(account)
    assert "shop: 2 changes waiting by rule" in run("braze_drain", "--timeout", "2")


def test_it_names_what_waits_for_the_outcome_of_another_record(account: Account, braze: BrazeSettings) -> None:
    entry(account, kind=Kind.ORDER, parked=True, error="waits for the outcome of the order's purchases")
    assert "order of customer c-1: waits for the outcome" in run("braze_drain", "--timeout", "2")


def test_it_waits_for_a_request_in_flight_although_the_account_is_paused(
    account: Account, braze: BrazeSettings
) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    relay.relay(account.pk)
    assert ledger.start(Delivery.objects.get().pk)  # by another process, which has not settled it yet
    BrazeState.objects.update(paused_at=database_now(), pause_reason="Invalid API key")
    output, _ = refused("braze_drain", "--timeout", "0.3")
    assert "shop: time is up with 1 change still on their way" in output


def test_it_waits_for_what_comes_due_in_time(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, settings
) -> None:
    settings.BRAZE_DELETE_AFTER_SECONDS = 1
    customer = Customer.objects.create(account=account, external_id="Ada")
    run("braze_drain")
    customer.delete()
    assert run("braze_drain") == "shop: drained\n"
    assert sandbox.profile("Ada") is None


def test_it_ends_with_an_error_when_time_is_up(account: Account, braze: BrazeSettings, sandbox: SandboxServer) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    sandbox.faults.add(status=503, times=100)
    output, error = refused("braze_drain", "--timeout", "0.7")
    assert error.returncode == 1
    assert "shop: time is up with 1 change still on their way" in output


def test_it_says_that_redis_is_down(account: Account, braze: BrazeSettings, no_redis: None) -> None:
    Customer.objects.create(account=account, external_id="Ada")
    _, error = refused("braze_drain")
    assert error.returncode == 1
    assert "Redis cannot be used" in str(error)
    assert status()["buffered"] == 1


# --- braze_backfill -------------------------------------------------------------------------------------


@pytest.fixture
def history(account: Account) -> Account:
    """Records from before Braze was switched on."""
    ada = Customer.objects.create(account=account, external_id="Ada", tags={"vip": True})
    bob = Customer.objects.create(account=account, external_id="Bob")
    for type_ in ("VISIT", "VISIT", "REGISTRATION"):
        Event.objects.create(account=account, customer=ada, type=type_)
    for status_ in ("FULFILLED", "PENDING"):
        order = Order.objects.create(account=account, customer=bob, order_id=status_, status=status_)
        OrderLine.objects.create(order=order, sku="CD", value=Decimal("11.77"))
    Audience.objects.create(account=account, name="Club").customers.add(ada, bob)
    assert not OutboxEntry.objects.exists()
    return account


def test_it_captures_and_sends_what_was_there_before(
    history: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    assert run("braze_backfill", "--account", "shop").splitlines() == [
        "customers: 2 captured of 2",
        "events: 3 captured of 3",
        "fulfilled orders: 1 captured of 1",
        "audience memberships: 2 captured of 2",
    ]
    run("braze_drain")
    held = sandbox.summary()
    assert (held["events"], held["purchases"], held["revenue"]) == (2, 1, {"USD": "11.77"})
    assert sandbox.profile("Ada")["custom_attributes"] == {"tag_vip": True, "masivo_Club": True, "loyalty_points": 0}


def test_it_sends_nothing_twice_when_backfilled_again(
    history: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    for _ in range(2):
        run("braze_backfill", "--account", "shop")
        run("braze_drain")
    assert Delivery.objects.filter(started_at__isnull=False).count() == 1
    assert sandbox.summary()["events"] == 2
    assert BrazePurchase.objects.count() == 1


def test_it_does_not_capture_again_what_is_still_pending(history: Account, braze: BrazeSettings) -> None:
    run("braze_backfill", "--account", "shop")
    assert "events: 0 captured of 3" in run("braze_backfill", "--account", "shop")


def test_it_captures_an_event_that_was_skipped_once(history: Account, braze: BrazeSettings) -> None:
    run("braze_backfill", "--account", "shop")
    OutboxEntry.objects.filter(kind=Kind.EVENT).update(status=Status.SKIPPED, error="Events is switched off")
    assert "events: 3 captured of 3" in run("braze_backfill", "--account", "shop")


def test_it_captures_by_todays_toggles(history: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(create_customers=False, sync_events=False, sync_purchases=False, sync_audiences=False)
    output = run("braze_backfill", "--account", "shop")
    assert "customers: 1 captured of 2" in output  # the one that has tags
    assert list(OutboxEntry.objects.values_list("customer_external_id", flat=True)) == ["Ada"]


def test_it_reads_in_chunks(history: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "CHUNK", 2)
    assert "events: 3 captured of 3" in run("braze_backfill", "--account", "shop")
    assert OutboxEntry.objects.filter(kind=Kind.EVENT).values("subject").distinct().count() == 3


def test_a_backfill_says_why_it_leaves_events_out(history: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(purged_at=database_now())
    output = run("braze_backfill", "--account", "shop")
    assert "events (left out, since it is no longer known which of the older ones were sent): 0 captured of 3" in output


def test_it_refuses_to_backfill_where_nothing_is_synced(history: Account) -> None:
    BrazeSettings.objects.create(account=history, is_enabled=False, sync_events=True)
    assert "Nothing of shop is synced" in str(refused("braze_backfill", "--account", "shop")[1])
    assert "There is no account “shpo”" in str(refused("braze_backfill", "--account", "shpo")[1])


@pytest.mark.parametrize("command", ["braze_drain", "braze_accounting"])
def test_an_empty_slug_is_no_account_and_not_all(account: Account, braze: BrazeSettings, command: str) -> None:
    """As from a shell variable that is not set."""
    with pytest.raises(CommandError, match="“”"):
        run(command, "--account", "")

"""What `braze_drain` sends by itself, and what it says of what is left."""

import re
from datetime import timedelta

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import ledger
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.commands import entry, refused, run, status


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

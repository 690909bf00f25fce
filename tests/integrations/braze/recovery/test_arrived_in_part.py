"""Of an order's purchases in doubt some have arrived and others have not: a person says so of each."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import User
from django.test import Client

from integrations.braze.composing import relay
from integrations.braze.delivery import flush
from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution, restored
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.failed_syncs import act, allow, confirm, said
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled, reverse
from tests.integrations.braze.recovery.test_restored import lost_afterwards


@pytest.fixture
def order(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Order:
    """The answers to both of its lines were lost; the first one arrived."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    OrderLine.objects.create(order=order, sku="DVD", quantity=1, value=5)
    sandbox.faults.add(close="before", times=1)
    settle_all(sync)
    return order


def in_doubt() -> "list[OutboxEntry]":
    return list(OutboxEntry.objects.filter(status="unknown").order_by("pk"))


def the_rest(order: Order, **which: object) -> list[int]:
    return list(BrazePurchase.objects.filter(order_id=order.order_id, **which).values_list("pk", flat=True))


def say_that_the_first_arrived(order: Order) -> None:
    resolution.treat_as_delivered(OutboxEntry.objects.all(), by="ada", not_arrived=the_rest(order, product_id="DVD"))


def test_what_has_not_arrived_stays_in_doubt_and_can_be_sent_again(
    order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    say_that_the_first_arrived(order)
    assert dict(BrazePurchase.objects.values_list("product_id", "fate")) == {"CD": "delivered", "DVD": "unknown"}
    assert in_doubt()
    resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "15.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert accounting.check(order.account_id) == []
    assert not in_doubt()


def test_what_has_not_arrived_can_be_discarded(order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    say_that_the_first_arrived(order)
    resolution.discard(OutboxEntry.objects.filter(status="unknown"), by="ada", reason="too old")
    settle_all(sync)
    assert dict(BrazePurchase.objects.values_list("product_id", "fate")) == {"CD": "delivered", "DVD": "discarded"}
    assert accounting.check(order.account_id) == []


def test_a_reversal_goes_when_all_is_decided(order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    reverse(order)
    settle_all(sync)
    say_that_the_first_arrived(order)
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert sandbox.summary()["duplicates"]["purchase_id"] == 0
    assert accounting.check(order.account_id) == []


def test_others_of_the_chosen_are_decided_as_ever(order: Order, sandbox: SandboxServer, sync: Sync) -> None:
    other = fulfilled(order.account, order.customer, ("CD", 3), order_id="o2")
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    say_that_the_first_arrived(order)
    assert {entry.data["order_id"] for entry in in_doubt()} == {"o1"}
    assert BrazePurchase.objects.get(order_id=other.order_id).fate == "delivered"


@pytest.fixture
def reversed_itself(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Order:
    """A sale of an order whose closing nobody captured: it is sent together with its reversal."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    BrazeSettings.objects.update(sync_purchases=False)
    reverse(order)
    BrazeSettings.objects.update(sync_purchases=True)
    return order


def lose(order: Order, sync: Sync) -> None:
    with lost_afterwards():
        settle_all(sync)
    sync()
    restored.resume(order.account_id, database_now())


def test_a_sale_that_reversed_itself_and_was_lost_by_a_restore_is_not_reversed_twice(
    reversed_itself: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    lose(reversed_itself, sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(reversed_itself.account_id) == []


def test_a_sale_that_was_lost_by_a_restore_before_it_reversed_itself_is_reversed_when_somebody_says_so(
    reversed_itself: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    with lost_afterwards():
        relay.relay(reversed_itself.account_id)
        flush.flush(reversed_itself.account_id)
    sync()
    restored.resume(reversed_itself.account_id, database_now())
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}
    not_arrived = the_rest(reversed_itself, is_reversal=True)
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada", not_arrived=not_arrived)
    settle_all(sync)
    assert in_doubt()
    resolution.send_again(OutboxEntry.objects.filter(status="unknown"))
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(reversed_itself.account_id) == []


def test_a_closing_captured_in_the_pause_reverses_a_sale_that_was_lost(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    with lost_afterwards():
        sync()
    sync()
    order.closed_at = database_now() - timedelta(hours=1)  # by the till's clock
    reverse(order)
    restored.resume(account.pk, database_now())
    everything, reversals = OutboxEntry.objects.filter(status="unknown"), the_rest(order, is_reversal=True)
    resolution.treat_as_delivered(everything, by="ada", not_arrived=reversals)
    settle_all(sync)
    resolution.send_again(everything)
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(account.pk) == []


# --- in the admin ---------------------------------------------------------------------------------------


def test_the_page_asks_of_each_purchase(order: Order, admin_client: Client) -> None:
    arrived, missing = (the_rest(order, product_id=product)[0] for product in ("CD", "DVD"))
    page = act(admin_client, "treat_as_delivered", in_doubt()[:1])
    assert "o1:1:1" in page and "5.00 USD × 1" in page
    page = confirm(admin_client, "treat_as_delivered", page, listed=[arrived, missing], arrived=[arrived])
    assert said(page) == ["1 change has purchases that did not arrive: send it again, or discard it."]
    assert dict(BrazePurchase.objects.values_list("product_id", "fate")) == {"CD": "delivered", "DVD": "unknown"}
    assert LogEntry.objects.get().change_message == "Treated as delivered in part"


@pytest.mark.parametrize("word", ["no number", "-1", "9" * 40, "\0"])
def test_a_form_that_names_no_purchase_takes_none_for_arrived(order: Order, admin_client: Client, word: str) -> None:
    page = act(admin_client, "treat_as_delivered", in_doubt()[:1])
    confirm(admin_client, "treat_as_delivered", page, listed=the_rest(order), arrived=[word])
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"unknown"}


def test_only_who_may_see_payloads_sees_what_each_purchase_was(order: Order, client: Client) -> None:
    create_permissions(apps.get_app_config("braze"), verbosity=0)
    user = User.objects.create_user("eve", is_staff=True)
    order.account.members.add(user)
    allow(user, "view_failedsync", "change_failedsync")
    client.force_login(user)
    page = act(client, "treat_as_delivered", in_doubt()[:1])
    assert "o1:1:1" in page
    assert "USD" not in page

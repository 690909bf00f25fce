"""What would be sent now, told without sending it."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from integrations.braze.composing import preview
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

Sync = Callable[[], None]


@pytest.fixture
def ada(account: Account, braze: BrazeSettings) -> Customer:
    made = Customer.objects.create(account=account, external_id="Ada-1", first_name="Ada", tags={"vip": True})
    Customer.objects.filter(pk=made.pk).update(email="ada at example")
    made.refresh_from_db()
    Audience.objects.create(account=account, name="Club").customers.add(made)
    return made


@pytest.fixture
def login(ada: Customer) -> Event:
    return Event.objects.create(account=ada.account, customer=ada, type="LOGIN", data={"time": 1})


@pytest.fixture
def order(ada: Customer) -> Order:
    made = Order.objects.create(account=ada.account, customer=ada, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=2, value=Decimal("29.33"))
    return made


@pytest.mark.made_up
def test_a_customer_made_again_waits_for_the_deletion_and_is_sent_whole(
    ada: Customer, sync: Sync, sandbox: SandboxServer
) -> None:
    """It showed nulls for what the deleted one had: nobody sends these, since the deletion goes first."""
    sync()
    ada.delete()
    again = Customer.objects.create(account=ada.account, external_id="Ada-1", last_name="King")
    shown = preview.customer(again)
    assert shown.waiting == [preview.DELETION_FIRST]
    whole = {"external_id": "Ada-1", "last_name": "King", "loyalty_points": 0}
    assert shown.objects["attributes"] == [whole]
    assert preview.event(Event.objects.create(account=ada.account, customer=again, type="LOGIN")).waiting
    Delivery.objects.all().delete()
    BrazeProfile.objects.update(last_accepted_at=None, deleted_at=database_now(), attributes={})
    OutboxEntry.objects.filter(kind="customer_deleted").update(status="delivered")
    (waiting,) = preview.customer(again).waiting
    assert waiting.endswith("UTC, when the deletion has taken effect throughout Braze")
    BrazeProfile.objects.update(deleted_at=database_now() - timedelta(hours=1))
    assert preview.customer(again).waiting == []
    assert preview.customer(again).objects["attributes"] == [whole]


def test_it_shows_what_is_then_sent(
    ada: Customer, login: Event, order: Order, sync: Sync, sandbox: SandboxServer
) -> None:
    shown = [preview.customer(ada), preview.event(login), preview.order(order)]
    assert (BrazePurchase.objects.count(), Delivery.objects.count(), sandbox.summary()["requests"]["track"]) == (
        0,
        0,
        0,
    )
    pending = list(OutboxEntry.objects.values_list("status", flat=True).distinct())
    assert pending == ["pending"]
    sync()
    told = {name: items for one in shown for name, items in one.objects.items()}
    assert told == Delivery.objects.get().payload
    assert ["ada at example" in one.adjustments[0] if one.adjustments else None for one in shown] == [True, False, None]
    assert "“time” is sent as “time_2”" in shown[1].adjustments


def test_it_says_why_nothing_would_be_sent(ada: Customer, login: Event, order: Order, sync: Sync) -> None:
    sync()
    assert "ada at example" in preview.customer(ada).skipped[0]
    assert preview.order(order).skipped == ["nothing new: this order's purchases were already sent"]
    BrazeSettings.objects.update(sync_events=False)
    assert preview.event(login).as_json() == {"skipped": ["Events is switched off"]}


def test_it_shows_rejections_and_differences(ada: Customer, order: Order, sync: Sync) -> None:
    Order.objects.filter(pk=order.pk).update(currency="ZZZ")
    order.refresh_from_db()
    shown = preview.order(order)
    assert "ZZZ" in shown.rejected[0] and not shown.objects
    Order.objects.filter(pk=order.pk).update(currency="USD")
    sync()
    order.lines.update(value=5)
    shown = preview.order(Order.objects.get())
    assert shown.differences == ["line 1: sent 2 × CD for 29.33 USD, now 2 × CD for 5.00 USD"]


@pytest.mark.made_up
def test_it_shows_a_reversal_and_a_sale_that_is_still_due(order: Order, sync: Sync) -> None:
    order.status = "REVERSED"
    order.save()
    assert [item["price"] for item in preview.order(order).objects["purchases"]] == [14.66, 14.67]
    sync()
    BrazePurchase.objects.filter(is_reversal=True).delete()
    assert [item["price"] for item in preview.order(order).objects["purchases"]] == [-14.66, -14.67]


def test_it_counts_the_purchases_of_further_requests(ada: Customer, order: Order) -> None:
    OrderLine.objects.bulk_create(OrderLine(order=order, sku="LP", quantity=1, value=1) for _ in range(100))
    shown = preview.order(Order.objects.get())
    assert len(shown.objects["purchases"]) == 75
    assert shown.waiting == ["27 more purchases follow in further requests"]


def test_it_follows_the_toggle_that_the_next_change_would(ada: Customer, sync: Sync) -> None:
    BrazeSettings.objects.update(update_customers=False)
    assert preview.customer(ada).objects["attributes"][0]["first_name"] == "Ada"
    sync()
    Customer.objects.filter(pk=ada.pk).update(first_name="Augusta", tags={"vip": False})
    ada.refresh_from_db()
    assert preview.customer(ada).objects["attributes"] == [{"external_id": "Ada-1", "tag_vip": False}]
    BrazeSettings.objects.update(update_customers=True, create_customers=False)
    (shown,) = preview.customer(ada).objects["attributes"]
    assert (shown["first_name"], shown["_update_existing_only"]) == ("Augusta", True)


def test_it_says_so_where_the_account_sends_nothing(ada: Customer) -> None:
    BrazeSettings.objects.update(is_enabled=False)
    assert preview.customer(ada).account == "Nothing is sent now: the account is disabled"
    BrazeSettings.objects.all().delete()
    assert preview.customer(ada).as_json() == {"account": "The account has no Braze settings."}


def shown_by_command(**options: Any) -> Any:
    out = StringIO()
    call_command("braze_preview", stdout=out, account="shop", **options)
    return json.loads(out.getvalue())


def test_the_command_prints_the_same(ada: Customer, login: Event, order: Order) -> None:
    assert shown_by_command(customer="Ada-1") == preview.customer(ada).as_json()
    assert shown_by_command(order="o1") == json.loads(json.dumps(preview.order(order).as_json()))
    assert shown_by_command(event=str(login.pk))["objects"]["events"][0]["name"] == "LOGIN"


@pytest.mark.parametrize(
    "options", [{"customer": "Bob"}, {"order": "o9"}, {"event": str(uuid4())}, {"event": "not-an-id"}]
)
def test_the_command_says_so_where_there_is_no_such_record(ada: Customer, options: dict[str, str]) -> None:
    with pytest.raises(CommandError, match=r"^There is no|is not the id"):
        shown_by_command(**options)


@pytest.mark.parametrize(("typed", "found"), [("José".encode(), True), ("José".encode("latin-1"), False)])
def test_it_finds_whom_it_is_asked_for_whatever_the_locale_says(
    account: Account, braze: BrazeSettings, typed: bytes, found: bool
) -> None:
    """With LC_ALL=C, an id with an accent ended the command with the traceback of the database's driver."""
    Customer.objects.create(account=account, external_id="José")
    argument, out = typed.decode("ascii", "surrogateescape"), StringIO()  # as Python reads the command line then
    if found:
        call_command("braze_preview", "--account", "shop", "--customer", argument, stdout=out)
        assert '"external_id": "José"' in out.getvalue()
    else:
        with pytest.raises(CommandError, match=r"There is no customer Jos\\xe9\."):
            call_command("braze_preview", "--account", "shop", "--customer", argument)

"""The sync state beside Masivo's records, and sending everything of one customer again."""

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations.braze.admin import beside
from integrations.braze.console import health
from integrations.braze.models import BrazeProfile, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery.resend import resend
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.console.two_accounts import person


@pytest.fixture
def ada(account: Account, braze: BrazeSettings, sync: Callable[[], None]) -> Customer:
    """In Braze, with a tag, an audience, an event and an order."""
    ada = Customer.objects.create(account=account, external_id="Ada", first_name="Ada", tags={"club": "gold"})
    Audience.objects.create(account=account, name="VIP").customers.add(ada)
    Event.objects.create(account=account, customer=ada, type="VISIT")
    order = Order.objects.create(account=account, customer=ada, order_id="A-1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", value=12)
    sync()
    return ada


def listed(client: Client, model: str) -> list[str]:
    page = client.get(reverse(f"admin:loyalty_{model}_changelist"))
    return [words for row in page.context["cl"].result_list for words in row.sync_words]


def shown(client: Client, record: object) -> str:
    model = type(record).__name__.lower()
    page = client.get(reverse(f"admin:loyalty_{model}_change", args=[record.pk]))  # type: ignore[attr-defined]
    return page.content.decode().partition('id="braze-beside"')[2]


def test_lists_say_what_became_of_each_record(ada: Customer, admin_client: Client, sync: Callable[[], None]) -> None:
    for model in ("customer", "event", "order", "orderline", "membership"):
        assert listed(admin_client, model) == ["in Braze"]
    Event.objects.create(account=ada.account, customer=ada, type="REGISTRATION")
    Event.objects.create(account=ada.account, customer=ada, type="VISIT")
    assert listed(admin_client, "event") == ["waiting", "waiting", "in Braze"]
    sync()
    assert listed(admin_client, "event") == ["in Braze", "nothing to send", "in Braze"]
    OutboxEntry.objects.update(status=Status.REJECTED)
    assert listed(admin_client, "event") == ["rejected", "rejected", "rejected"]
    OutboxEntry.objects.all().delete()
    assert listed(admin_client, "event") == ["–", "–", "–"]


def test_the_list_of_audiences_says_how_much_of_each_waits(ada: Customer, admin_client: Client) -> None:
    assert listed(admin_client, "audience") == ["nothing waits"]
    Audience.objects.get().customers.clear()
    Audience.objects.create(account=ada.account, name="Another")
    assert listed(admin_client, "audience") == ["nothing waits", "1 waiting"]


@pytest.mark.parametrize("model", ["customer", "event", "order", "orderline", "membership", "audience"])
def test_a_longer_list_takes_no_more_queries(ada: Customer, admin_client: Client, model: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            listed(admin_client, model)
        return len(captured)

    few = queries()
    for number in range(20):
        other = Customer.objects.create(account=ada.account, external_id=f"c{number}")
        Event.objects.create(account=ada.account, customer=other, type="VISIT")
        order = Order.objects.create(account=ada.account, customer=other, order_id=f"o{number}", status="FULFILLED")
        OrderLine.objects.create(order=order, sku="CD", value=12)
        Audience.objects.create(account=ada.account, name=f"a{number}").customers.add(other)
    assert queries() == few


def test_another_account_s_customer_of_the_same_id_has_a_state_of_its_own(
    ada: Customer, admin_client: Client, account: Account
) -> None:
    other = Account.objects.create(name="Other", slug="other")
    Customer.objects.create(account=other, external_id="Ada")
    assert sorted(listed(admin_client, "customer")) == ["in Braze", "–"]


def test_a_page_shows_the_newest_changes_and_the_account_s_state(ada: Customer, admin_client: Client) -> None:
    for record in (ada, Event.objects.get(), Order.objects.get()):
        assert "delivered" in shown(admin_client, record)
        assert ">healthy<" in shown(admin_client, record)
    panel = shown(admin_client, ada)
    assert re.search(r"Braze took something of this customer last on [\d-]{10} [\d:]{8} UTC\.", panel)
    assert "<th>Captured (UTC)</th>" in panel
    BrazeState.objects.update(paused_at=database_now(), pause_reason="refused")
    assert re.search(r"paused: Braze refused on [-\d]+ [\d:]+: refused", shown(admin_client, ada))


def test_a_page_says_of_the_account_what_health_says(ada: Customer, admin_client: Client) -> None:
    """It said “healthy” when the workers were down."""
    old = database_now() - timedelta(minutes=5)
    Delivery.objects.update(started_at=old, finished_at=old)
    OutboxEntry.objects.create(account=ada.account, integration="braze", kind="event", created_at=old)
    (standing,) = health.overview([ada.account], database_now())
    assert standing.words.startswith("standing still: 1 waiting")
    for record in (ada, Event.objects.get(), Order.objects.get(), Audience.objects.get()):
        assert standing.words in unescape(shown(admin_client, record))


def test_an_audience_s_page_counts_what_waits(ada: Customer, admin_client: Client) -> None:
    audience = Audience.objects.get()
    assert "No change of a member waits" in shown(admin_client, audience)
    audience.customers.remove(ada)
    assert "1 change of members waits to be sent" in shown(admin_client, audience)
    assert "long backlog" not in shown(admin_client, audience)


def test_an_audience_s_page_looks_at_no_more_than_the_oldest_of_a_backlog(
    ada: Customer, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "LOOKED_AT", 1)
    audience = Audience.objects.get()
    ada.save()
    audience.customers.remove(ada)
    assert "No change of a member waits" in shown(admin_client, audience)
    assert "long backlog" in shown(admin_client, audience)


def test_a_record_that_was_never_captured_says_so(account: Account, admin_client: Client) -> None:
    ada = Customer.objects.create(account=account, external_id="Ada")
    assert "No change of this record was captured" in shown(admin_client, ada)


# --- resend ---------------------------------------------------------------------------------------------


def test_everything_is_sent_again_whatever_the_mirror_says(
    ada: Customer, sandbox: SandboxServer, sync: Callable[[], None]
) -> None:
    before = len(sandbox.requests())
    ada.save()
    sync()
    assert len(sandbox.requests()) == before  # the mirror has it all
    assert resend(ada) == 2  # the state, and the order, of which each purchase has its one row
    sync()
    profile = sandbox.profile("Ada")
    assert profile["custom_attributes"]["tag_club"] == "gold"
    assert profile["custom_attributes"]["masivo_VIP"] is True
    assert len(sandbox.requests()) == before + 1
    assert sandbox.summary()["events"] == 1
    assert sandbox.summary()["purchases"] == 1
    assert BrazeProfile.objects.get().uncertain == []


def test_what_was_never_captured_is_captured(ada: Customer, sandbox: SandboxServer, sync: Callable[[], None]) -> None:
    BrazeSettings.objects.update(sync_events=False)
    Event.objects.create(account=ada.account, customer=ada, type="MISSED")
    BrazeSettings.objects.update(sync_events=True)
    resend(ada)
    sync()
    assert sandbox.profile("Ada")["event_counts"] == {"VISIT": 1, "MISSED": 1}


def test_a_refused_value_is_tried_again(ada: Customer) -> None:
    BrazeProfile.objects.update(refused={"email": "no"})
    resend(ada)
    assert BrazeProfile.objects.get().refused == {}


def test_nothing_is_captured_where_nothing_is_wanted(ada: Customer, admin_client: Client) -> None:
    BrazeSettings.objects.update(is_enabled=False)
    url = reverse("admin:braze_resend_customer", args=[ada.pk])
    assert "Nothing was captured" in admin_client.post(url, follow=True).content.decode()
    assert not OutboxEntry.objects.filter(status="pending").exists()


def test_the_button_resends_and_leaves_its_trace(ada: Customer, admin_client: Client) -> None:
    assert "Resend everything for this customer" in shown(admin_client, ada)
    page = admin_client.post(reverse("admin:braze_resend_customer", args=[ada.pk]), follow=True)
    assert "2 changes were captured" in page.content.decode()
    assert LogEntry.objects.get().change_message == "Resent everything for this customer"
    assert LogEntry.objects.get().object_id == str(ada.pk)


def test_who_may_only_view_has_no_button_and_no_way(ada: Customer, client: Client, account: Account) -> None:
    client.force_login(person("viewer", "Viewer", account))
    assert "Resend everything" not in shown(client, ada)
    assert client.post(reverse("admin:braze_resend_customer", args=[ada.pk])).status_code == 403
    client.force_login(person("operator", "Operator", account))
    assert "Resend everything" in shown(client, ada)
    assert client.get(reverse("admin:braze_resend_customer", args=[ada.pk])).status_code == 405

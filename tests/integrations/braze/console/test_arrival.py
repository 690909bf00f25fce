"""*Did it arrive?* over the admin: the search, the timelines, and what Braze is asked."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from integrations.braze.composing import relay
from integrations.braze.console import search, timeline
from integrations.braze.models import BrazeProfile, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.console.pages import ARRIVAL, client_of
from tests.integrations.braze.failed_syncs import act, confirm, text_of


@pytest.mark.parametrize("term", ["c/1", "ada@example.com", "ADA@example.com", " o1 ", "the event"])
def test_a_search_leads_to_the_record(ada: Customer, admin_client: Client, term: str) -> None:
    term = str(Event.objects.get().pk) if term == "the event" else term
    page = text_of(admin_client.get(ARRIVAL, {"q": term}, follow=True))
    assert "captured:" in page and "Braze accepted the request" in page
    assert '"first_name": "Ada"' in page


@pytest.mark.parametrize("chosen", ["", "shop"])
def test_a_search_is_in_all_accounts(ada: Customer, many: int, admin_client: Client, chosen: str) -> None:
    for term in ("c/1", "o1", str(Delivery.objects.get().pk)):
        page = text_of(admin_client.get(ARRIVAL, {"q": term, "account": chosen}, follow=True))
        assert "Nothing has this id" not in page and "accepted" in page
    assert 'value="shop"' in text_of(admin_client.get(ARRIVAL))


def test_a_search_in_one_account_finds_nothing_of_another(ada: Customer, many: int, admin_client: Client) -> None:
    assert "Nothing has this id" in text_of(admin_client.get(ARRIVAL, {"q": "c/1", "account": "shop-1"}))


def test_a_search_that_finds_nothing_says_what_to_try(ada: Customer, admin_client: Client) -> None:
    assert "Nothing has this id" in text_of(admin_client.get(ARRIVAL, {"q": "nobody"}))


def test_a_search_finds_no_other_accounts_records(ada: Customer, account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    client = client_of("Operator", other)
    for term in ("c/1", "ada@example.com", "o1", str(Event.objects.get().pk)):
        assert "Nothing has this id" in text_of(client.get(ARRIVAL, {"q": term}))
    assert client.get(f"{ARRIVAL}shop/", {"customer": "c/1"}).status_code == 404


def test_records_with_the_same_id_are_offered(ada: Customer, account: Account, admin_client: Client) -> None:
    Customer.objects.create(account=account, external_id="o1")
    page = text_of(admin_client.get(ARRIVAL, {"q": "o1"}))
    assert "2 records have this id" in page


def test_payloads_need_their_permission(ada: Customer, account: Account, sandbox: SandboxServer) -> None:
    viewer, operator = client_of("Viewer", account), client_of("Operator", account)
    page = text_of(viewer.get(f"{ARRIVAL}shop/", {"customer": "c/1"}))
    assert "Braze accepted the request" in page and "Ada" not in page
    assert viewer.post(f"{ARRIVAL}shop/?customer=c/1").status_code == 403
    assert '"first_name": "Ada"' in text_of(operator.get(f"{ARRIVAL}shop/", {"customer": "c/1"}))


def test_braze_is_asked_and_the_difference_is_shown(
    ada: Customer, sandbox: SandboxServer, admin_client: Client
) -> None:
    BrazeProfile.objects.update(attributes={"first_name": "Augusta"})
    page = text_of(admin_client.post(f"{ARRIVAL}shop/?customer=c/1"))
    page = " ".join(page.split())
    assert re.search(r"1 event, the last at [\d-]{10} [\d:]{8} UTC; 2 purchases, .*; a total revenue of 9", page)
    assert "differs" in page and "Augusta" in page


def test_the_timeline_of_an_order_has_its_purchases_alone(ada: Customer, admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "order": "o1"}))
    assert "o1:1:1" in page
    assert "captured: event" not in page


def test_an_event_whose_id_cannot_be_one_is_told_of(ada: Customer, admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "event": "no-uuid"}, follow=True))
    assert "There is no such event" in page and "Nothing has this id" in page


def test_an_events_id_may_be_written_in_capitals(ada: Customer, admin_client: Client) -> None:
    capitals = str(Event.objects.get().pk).upper()
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "event": capitals}))
    assert "Braze accepted the request" in page


@pytest.mark.parametrize("before", ["9" * 30, "9" * 5_000, "-1", "x"])
def test_a_place_in_a_timeline_that_is_none_is_its_beginning(ada: Customer, admin_client: Client, before: str) -> None:
    page = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "before": before})
    assert page.status_code == 200
    assert "Braze accepted the request" in text_of(page)


def test_a_refused_change_says_brazes_words(refused: OutboxEntry, admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c2"}))
    assert "rejected: Braze answered 400" in page
    assert "Times are UTC." in page
    assert "<b>poison</b>" in page  # unescaped by text_of
    assert b"<b>poison</b>" not in admin_client.get(f"{ARRIVAL}shop/", {"customer": "c2"}).content


def test_what_a_person_treated_as_delivered_is_not_said_to_be_accepted_by_braze(
    unknown: list[OutboxEntry], admin_client: Client
) -> None:
    confirm(admin_client, "treat_as_delivered", act(admin_client, "treat_as_delivered", unknown))
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c1", "order": "o1"}))
    assert "delivered: treated as delivered by admin" in page
    assert "accepted by Braze" not in page


def test_what_a_person_discarded_is_called_discarded_and_not_unsent(
    unknown: list[OutboxEntry], admin_client: Client
) -> None:
    """It was sent, and may have arrived: somebody who adds up revenue has to know."""
    confirm(admin_client, "discard", act(admin_client, "discard", unknown), reason="a test order")
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c1", "order": "o1"}))
    assert page.count("discarded by admin: a test order") == 4  # two changes and two purchases
    assert "never sent" not in page and "discarded: discarded" not in page
    listed = text_of(admin_client.get("/admin/braze/brazepurchase/"))
    assert "discarded by admin: a test order" in listed and "never sent" not in listed


def test_purchases_beyond_those_that_are_shown_are_told_of(
    ada: Customer, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who adds up what was sent would otherwise miss them."""
    OrderLine.objects.create(order=Order.objects.get(), sku="LP", quantity=1, value=5)
    OrderLine.objects.create(order=Order.objects.get(), sku="MC", quantity=1, value=3)
    relay.relay(ada.account_id)
    address = f"{ARRIVAL}shop/?customer=c%2F1&order=o1"
    assert "are shown" not in text_of(admin_client.get(address))
    monkeypatch.setattr(timeline, "MOST_PURCHASES", 2)
    answer = admin_client.get(address)
    assert [row.purchase_id for row in answer.context["timeline"].purchases] == ["o1:1:1", "o1:2:1"]
    page = text_of(answer)
    assert "The first 2 of 3 are shown" in page
    assert reverse("admin:braze_brazepurchase_changelist", query={"q": "o1"}) in page


def test_objects_beyond_those_that_are_shown_are_told_of(
    ada: Customer, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    OrderLine.objects.filter(quantity=2).update(quantity=250)
    OrderLine.objects.create(order=Order.objects.get(), sku="LP", quantity=250, value=50)
    relay.relay(ada.account_id)
    address = f"{ARRIVAL}shop/?customer=c%2F1&order=o1"
    assert "objects: the request's page" not in text_of(admin_client.get(address))
    monkeypatch.setattr(timeline, "MOST_OBJECTS", 2)
    page = text_of(admin_client.get(address))
    assert "The first 2 of 3 objects: the request's page has all of them." in page


def test_a_search_that_offers_no_more_than_so_many_says_so(
    ada: Customer, many: int, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in Account.objects.exclude(pk=ada.account_id)[:2]:
        Customer.objects.create(account=other, external_id="c/1")
    assert "There may be more" not in text_of(admin_client.get(ARRIVAL, {"q": "c/1"}))
    monkeypatch.setattr(search, "MOST", 2)
    assert "There may be more" in text_of(admin_client.get(ARRIVAL, {"q": "c/1"}))


def test_a_timeline_tells_adjustments_and_what_a_change_waits_for(ada: Customer, admin_client: Client) -> None:
    ada.phone, ada.first_name = "300 111 2233", "Augusta"
    ada.save()
    order = Order.objects.get()
    OutboxEntry.objects.create(
        account=ada.account, integration="braze", kind="order", customer_external_id="c/1", subject=str(order.pk),
        data={"order_id": "o1", "status": "REVERSED"}, parked=True, due_at=database_now() + timedelta(minutes=1),
        error="waits for the outcome of the order's purchases",
    )  # fmt: skip
    relay.relay(ada.account_id)
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1"}))
    assert "adjusted: phone: left out" in page
    assert "waits for another change: waits for the outcome of the order's purchases" in page


def test_long_timelines_come_in_pages(ada: Customer, account: Account, admin_client: Client) -> None:
    OutboxEntry.objects.bulk_create(
        OutboxEntry(
            account=account, integration="braze", kind="event", customer_external_id="c/1", status="skipped", error="no"
        )
        for _ in range(30)
    )
    first = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1"}).context["timeline"]
    second = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "before": first.older}).context["timeline"]
    ids = [change.entry.pk for change in (*first.changes, *second.changes)]
    assert ids == sorted(OutboxEntry.objects.values_list("pk", flat=True), reverse=True)
    assert second.older == 0

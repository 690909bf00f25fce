"""The records of the sync can be looked at and found by exact values, and nobody edits them."""

import uuid
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.integrations.braze.conftest import account, braze, sync  # noqa: F401

RECORDS = [OutboxEntry, Delivery, BrazePurchase, BrazeProfile]


def url(model: type, page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.label_lower.replace('.', '_')}_{page}", args=arguments)


def listed(client: Client, model: type, query: str = "") -> int:
    response = client.get(url(model, "changelist"), {"q": query} if query else {})
    assert response.status_code == 200
    return len(response.context["cl"].result_list)


@pytest.fixture
def shop(account: Account, braze: BrazeSettings, sync: Callable[[], None]) -> Account:  # noqa: F811
    """Ada and Bob, an event and an order, all delivered; one change of Bob that was skipped."""
    ada = Customer.objects.create(account=account, external_id="Ada", first_name="Ada <b>")
    bob = Customer.objects.create(account=account, external_id="Bob")
    Event.objects.create(account=account, customer=ada, type="VISIT", data={"page": "/<b>"})
    order = Order.objects.create(account=account, customer=ada, order_id="A-1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value="23.54")
    Audience.objects.create(account=account, name="Club").customers.add(ada)
    sync()
    bob.save()
    sync()
    return account


@pytest.mark.parametrize("model", RECORDS)
def test_it_shows_lists_and_pages_that_nobody_can_edit(shop: Account, admin_client: Client, model: type) -> None:
    row = model.objects.first()
    page = admin_client.get(url(model, "change", row.pk))
    assert page.status_code == 200
    assert b'<input type="submit"' not in page.content
    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "change", row.pk), {}).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert listed(admin_client, model) == model.objects.count() > 0


@pytest.mark.made_up
@pytest.mark.parametrize("model", RECORDS)
def test_it_keeps_lists_narrow_and_their_queries_few(shop: Account, admin_client: Client, model: type) -> None:
    assert len(admin.site.get_model_admin(model).list_display) <= 6
    with CaptureQueriesContext(connection) as few:
        listed(admin_client, model)
    rows = list(model.objects.all()[:1]) * 20
    for row in rows:
        row.pk = uuid.uuid4() if model is Delivery else None
        for name in ("purchase_id", "external_id"):
            if hasattr(row, name):
                setattr(row, name, uuid.uuid4().hex)
        row.save(force_insert=True)
    with CaptureQueriesContext(connection) as many:
        assert listed(admin_client, model) > 20
    assert len(many) == len(few)


def test_it_says_why_a_change_was_skipped(shop: Account, admin_client: Client) -> None:
    text = admin_client.get(url(OutboxEntry, "changelist")).content.decode()
    assert "skipped: nothing changed: Braze already has this" in text


def test_it_shows_what_was_left_out_of_a_change(shop: Account, admin_client: Client) -> None:
    entry = OutboxEntry.objects.get(kind="event")
    OutboxEntry.objects.filter(pk=entry.pk).update(adjustments=["name cut to <255>", "page left out"])
    text = admin_client.get(url(OutboxEntry, "change", entry.pk)).content.decode()
    assert "name cut to &lt;255&gt;<br>page left out" in text


def test_it_finds_changes_by_customer_number_and_request(shop: Account, admin_client: Client) -> None:
    entry = OutboxEntry.objects.filter(customer_external_id="Ada", status=Status.DELIVERED).earliest("pk")
    assert listed(admin_client, OutboxEntry, "Bob") == 2
    assert listed(admin_client, OutboxEntry, "bob") == 0  # Braze's ids are case-sensitive
    assert listed(admin_client, OutboxEntry, str(entry.pk)) == 1
    assert listed(admin_client, OutboxEntry, str(entry.batch)) == OutboxEntry.objects.filter(batch=entry.batch).count()


@pytest.mark.parametrize("term", ["9" * 40, "not-a-uuid", "'\"<b>", "١", "²", "%s", " "])
@pytest.mark.parametrize("model", RECORDS)
def test_it_survives_any_search(shop: Account, admin_client: Client, model: type, term: str) -> None:
    assert listed(admin_client, model, term) >= 0


def test_it_finds_purchases_by_order_and_customer(shop: Account, admin_client: Client) -> None:
    assert listed(admin_client, BrazePurchase, "A-1") == 1
    assert listed(admin_client, BrazePurchase, "Ada") == 1
    assert listed(admin_client, BrazePurchase, "A-2") == 0


def test_it_shows_each_object_of_a_request_with_the_changes_behind_it(shop: Account, admin_client: Client) -> None:
    delivery = Delivery.objects.filter(events=1).get()
    text = admin_client.get(url(Delivery, "change", delivery.pk)).content.decode()
    event = OutboxEntry.objects.get(kind="event")
    assert f'<a href="{url(OutboxEntry, "change", event.pk)}">{event.pk}</a>' in text
    assert "<b>" not in text  # escaped
    assert '"price": 11.77' in unescape(text)
    assert '"name":"VISIT"' in unescape(text)


def test_it_leads_from_a_change_and_a_purchase_to_their_request(shop: Account, admin_client: Client) -> None:
    for row, request in (
        (OutboxEntry.objects.get(kind="event"), OutboxEntry.objects.get(kind="event").batch),
        (BrazePurchase.objects.get(), BrazePurchase.objects.get().delivery_id),
    ):
        text = admin_client.get(url(type(row), "change", row.pk)).content.decode()
        assert f'<a href="{url(Delivery, "change", request)}">{request}</a>' in text


def test_it_shows_a_request_whose_contents_are_gone(shop: Account, admin_client: Client) -> None:
    delivery = Delivery.objects.filter(events=1).get()
    Delivery.objects.filter(pk=delivery.pk).update(body=b"")
    text = admin_client.get(url(Delivery, "change", delivery.pk)).content.decode()
    assert "not kept" in text


def test_it_reads_no_bodies_for_the_list(shop: Account, admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        listed(admin_client, Delivery)
    assert not [query for query in queries if '"body"' in query["sql"] or '"manifest"' in query["sql"]]


def test_it_offers_no_page_for_what_is_only_machinery() -> None:
    registered = {model._meta.label for model in admin.site._registry}
    assert not registered & {"outbox.Subscription", "outbox.Lease", "braze.BrazeState"}

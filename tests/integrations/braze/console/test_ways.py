"""The ways between the console's pages, and lists that are shown in part."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from integrations.outbox.models import OutboxEntry
from masivo_braze.console.lists import CappedPaginator
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.console.pages import ARRIVAL
from tests.integrations.braze.failed_syncs import text_of


def test_the_first_page_is_health(admin_client: Client) -> None:
    assert admin_client.get("/admin/").headers["Location"] == reverse("admin:braze_accounthealth_changelist")


def test_who_may_see_one_page_alone_begins_there(client: Client, db: None) -> None:
    person = User.objects.create_user("clerk", is_staff=True)
    client.force_login(person)
    assert client.get("/admin/").status_code == 200
    person.user_permissions.add(Permission.objects.get(codename="view_order"))
    assert client.get("/admin/").headers["Location"] == reverse("admin:loyalty_order_changelist")


def test_a_failed_sync_leads_to_the_records_to_mend_and_to_the_timeline(
    refused: OutboxEntry,
    admin_client: Client,
) -> None:
    page = text_of(admin_client.get(reverse("admin:braze_failedsync_change", args=(refused.pk,))))
    customer = Customer.objects.get(external_id=refused.customer_external_id)
    assert reverse("admin:loyalty_event_change", args=(refused.subject,)) in page
    assert reverse("admin:loyalty_customer_change", args=(customer.pk,)) in page
    assert f"{ARRIVAL}shop/?customer={customer.external_id}" in page


def test_a_change_of_a_record_that_is_gone_says_so(refused: OutboxEntry, admin_client: Client) -> None:
    Customer.objects.all().delete()
    gone = OutboxEntry.objects.get(kind="event", customer_external_id=refused.customer_external_id)
    page = text_of(admin_client.get(reverse("admin:outbox_outboxentry_change", args=(gone.pk,))))
    assert "no longer there" in page


def test_a_record_s_page_leads_to_its_timeline(ada: Customer, admin_client: Client) -> None:
    order = Order.objects.get(order_id="o1")
    page = text_of(admin_client.get(reverse("admin:loyalty_order_change", args=(order.pk,))))
    assert f"{ARRIVAL}shop/?customer=c%2F1&order=o1" in page


def test_the_list_says_how_much_of_it_is_shown(
    skipped: list[OutboxEntry],
    admin_client: Client,
    monkeypatch: Any,
) -> None:
    whole = " ".join(text_of(admin_client.get("/admin/braze/skippedsync/")).split())
    assert "3 skipped changes" in whole and "the newest 3" not in whole
    assert "Show all" not in whole
    assert "Show all" in text_of(admin_client.get("/admin/braze/skippedsync/?q=c1"))
    monkeypatch.setattr(CappedPaginator, "most", 2)
    cut = " ".join(text_of(admin_client.get("/admin/braze/skippedsync/")).split())
    assert "the newest 2 skipped changes" in cut


@pytest.mark.parametrize("model", ["customer", "event", "order", "membership", "orderline"])
def test_masivo_s_long_lists_are_not_counted_either(
    model: str,
    ada: Customer,
    admin_client: Client,
    django_assert_max_num_queries: Any,
) -> None:
    with django_assert_max_num_queries(20) as queries:
        assert admin_client.get(reverse(f"admin:loyalty_{model}_changelist")).status_code == 200
    counted = [
        query["sql"] for query in queries if "COUNT(" in query["sql"] and f'FROM "loyalty_{model}"' in query["sql"]
    ]
    assert counted == []


def test_the_timeline_of_an_order_shows_nothing_of_another_customer_s_of_that_number(
    ada: Customer,
    admin_client: Client,
) -> None:
    page = f"{ARRIVAL}shop/?customer=c%2F1&order=o1"
    assert "nothing new: this order" in text_of(admin_client.get(page))
    Order.objects.all().delete()
    other = Customer.objects.create(account=ada.account, external_id="c2")
    order = Order.objects.create(account=ada.account, customer=other, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="SECRET", quantity=1, value=5)
    assert admin_client.get(page).context["preview"] is None
    assert "SECRET" in text_of(admin_client.get(f"{ARRIVAL}shop/?customer=c2&order=o1"))


@pytest.mark.parametrize("slug", ["shop.example", "Śklep 1"])
def test_an_account_whose_slug_no_form_would_take_has_its_pages_and_hurts_no_other(
    ada: Customer,
    admin_client: Client,
    slug: str,
) -> None:
    other = Account.objects.create(name="The other shop", slug=slug)
    Customer.objects.create(account=other, external_id="only there")
    overview = admin_client.get("/admin/braze/accounthealth/").content.decode()
    (page,) = re.findall(r'<a[^>]* href="([^"]*)"[^>]*>\s*The other shop', overview)
    assert "Health of The other shop" in admin_client.get(page).content.decode()
    found = admin_client.get("/admin/braze/arrival/", {"q": "only there"}, follow=True)
    assert "Customer only there" in found.content.decode()

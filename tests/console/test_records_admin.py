"""The admin of the records, over HTTP: what is typed in wrongly gets a message, never a 500."""

import json
import re
from typing import Any

import pytest
from django.contrib.admin.sites import site
from django.contrib.admin.utils import label_for_field
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery
from integrations.outbox.models import OutboxEntry
from masivo_braze.console.admin.records import MAX_MEMBERS_INLINE
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine
from tests.console.two_accounts import merchant, person
from tests.loyalty.recorder import RECORDS, Recorder


@pytest.fixture
def everything(account: Account, customers: list[Customer], order: Order) -> dict[type, Any]:
    """One saved record of each model."""
    audience = Audience.objects.create(account=account, name="Regulars")
    return {
        Customer: customers[0],
        Event: Event.objects.create(account=account, customer=customers[0], type="VISIT"),
        Order: order,
        OrderLine: OrderLine.objects.create(order=order, sku="s", value=1),
        Audience: audience,
        Membership: Membership.objects.create(audience=audience, customer=customers[0]),
    }


def page(model: type, name: str, *args: Any) -> str:
    return reverse(f"admin:loyalty_{model.__name__.lower()}_{name}", args=args)


def errors(response: Any) -> dict[str, list[str]]:
    """{field: messages} of the form and the inline forms of a page that was not accepted."""
    assert response.status_code == 200
    found = {**response.context["adminform"].form.errors}
    for inline in response.context["inline_admin_formsets"]:
        found.update({"__all__": [*found.get("__all__", []), *inline.formset.non_form_errors()]})
        for form in inline.formset.forms:
            found.update(form.errors)
    return {name: messages for name, messages in found.items() if messages}


def customer_form(account: Account, **values: Any) -> dict[str, Any]:
    return {"account": account.pk, "external_id": "new", "points": "0", "tags": "{}", **values}


def event_form(account: Account, customer: Customer, **values: Any) -> dict[str, Any]:
    when = {"occurred_at_0": "2024-05-01", "occurred_at_1": "12:00:00"}
    return {"account": account.pk, "customer": customer.pk, "type": "VISIT", "data": "{}", **when, **values}


def order_form(account: Account, customer: Customer, *lines: dict[str, Any], **values: Any) -> dict[str, Any]:
    form = {"account": account.pk, "customer": customer.pk, "order_id": "o", "status": "FULFILLED", "data": "{}"}
    form |= {"placed_at_0": "2024-05-01", "placed_at_1": "12:00:00"}
    form |= {"lines-TOTAL_FORMS": len(lines), "lines-INITIAL_FORMS": 0}
    for n, line in enumerate(lines):
        filled = {"sku": "s", "quantity": "1", "value": "1", "data": "{}", **line}
        form |= {f"lines-{n}-{name}": value for name, value in filled.items()}
    return form | values


def audience_form(account: Account, *members: Customer, **values: Any) -> dict[str, Any]:
    form = {"account": account.pk, "name": "New", "audience_id": ""}
    form |= {"memberships-TOTAL_FORMS": len(members), "memberships-INITIAL_FORMS": 0}
    return form | {f"memberships-{n}-customer": member.pk for n, member in enumerate(members)} | values


@pytest.mark.parametrize("model", RECORDS)
def test_it_shows_lists_forms_and_searches(admin_client: Client, everything: dict[type, Any], model: type) -> None:
    assert len(site._registry[model].list_display) <= 6
    for path in (
        page(model, "changelist"),
        page(model, "changelist") + "?q=c0",
        page(model, "add"),
        page(model, "change", everything[model].pk),
        page(model, "delete", everything[model].pk),
    ):
        assert admin_client.get(path).status_code == 200, path
    assert admin_client.get(page(model, "change", "no-such-thing")).status_code == 404
    assert admin_client.get(page(Account, "changelist")).status_code == 200


@pytest.mark.parametrize("name", ["change", "delete", "history"])
def test_a_title_has_an_id_as_it_is(admin_client: Client, account: Account, name: str) -> None:
    customer = Customer.objects.create(account=account, external_id="abc-Def")
    shown = " ".join(admin_client.get(page(Customer, name, customer.pk)).content.decode().split())
    assert re.search(r"<h1.*> abc-Def </a", shown)
    assert "Abc-Def" not in shown
    assert "> Customers </a" in shown


@pytest.mark.parametrize("model", RECORDS)
def test_it_deletes_selected_records_and_tells(
    admin_client: Client, everything: dict[type, Any], changes: Recorder, model: type
) -> None:
    pk = everything[model].pk
    form = {"action": "delete_selected", "_selected_action": [str(pk)]}
    assert admin_client.post(page(model, "changelist"), form).status_code == 200
    assert admin_client.post(page(model, "changelist"), {**form, "post": "yes"}).status_code == 302
    assert not model.objects.filter(pk=pk).exists()
    told = None if model is Membership else pk  # memberships are deleted set-wise
    assert changes.brief().count((model.__name__, "deleted", told)) == 1


def test_it_saves_a_customer_whose_external_id_then_stays(admin_client: Client, account: Account) -> None:
    form = customer_form(account, email="ana@example.com", tags='{"vip": true}')
    assert admin_client.post(page(Customer, "add"), form).status_code == 302
    customer = Customer.objects.get()
    assert (customer.external_id, customer.tags) == ("new", {"vip": True})
    other = Account.objects.create(name="B", slug="b")
    form |= {"external_id": "else", "account": other.pk, "tier": "gold", "tags": ""}
    assert admin_client.post(page(Customer, "change", customer.pk), form).status_code == 302
    customer.refresh_from_db()
    assert (customer.external_id, customer.account, customer.tier, customer.tags) == ("new", account, "gold", {})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tags", "[1]"),
        ("tags", '{"a": {"b": 1}}'),
        ("tags", '{"a": null}'),
        ("tags", '{"a": NaN}'),
        ("tags", '{"a": "\\u0000"}'),
        ("tags", '{"a": "\\ud800"}'),
        ("tags", "{nonsense"),
        ("tags", "[" * 100_000),
        ("tags", '{"a": ' + "9" * 5_000 + "}"),
        ("points", "many"),
        ("points", "1e400"),
        ("gender", "UNKNOWN"),
        ("birth_date", "31/31/2024"),
        ("email", "not an address"),
        ("external_id", ""),
        ("account", "999999"),
        ("account", ""),
    ],
)
def test_it_says_what_is_wrong_with_a_customer(admin_client: Client, account: Account, field: str, value: str) -> None:
    response = admin_client.post(page(Customer, "add"), {**customer_form(account), field: value})
    assert field in errors(response)


def test_it_says_that_an_email_address_is_taken(
    admin_client: Client, account: Account, customers: list[Customer]
) -> None:
    Customer.objects.filter(external_id="c1").update(email="ana@example.com")
    form = customer_form(account, email="ana@example.com")
    for path in (page(Customer, "add"), page(Customer, "change", customers[0].pk)):
        found = errors(admin_client.post(path, form))
        assert found["__all__"] == ["Another customer of this account has this email address."]
    found = errors(admin_client.post(page(Customer, "add"), customer_form(account, external_id="c0")))
    assert found["__all__"] == ["This account already has a customer with this external id."]


def test_it_says_that_a_customer_is_of_another_account(
    admin_client: Client, account: Account, other_account: Account
) -> None:
    stranger = Customer.objects.create(account=other_account, external_id="s")
    for path, form in (
        (page(Event, "add"), event_form(account, stranger)),
        (page(Order, "add"), order_form(account, stranger)),
        (page(Audience, "add"), audience_form(account, stranger)),
    ):
        found = errors(admin_client.post(path, form))
        assert found == {"customer": ["This customer belongs to another account."]}


@pytest.mark.parametrize("data", ["[1]", '{"a": -Infinity}', '{"a": ["\\u0000"]}', '{"a":' * 500 + "1" + "}" * 500])
def test_it_says_what_is_wrong_with_an_event(
    admin_client: Client, account: Account, customers: list[Customer], data: str
) -> None:
    response = admin_client.post(page(Event, "add"), event_form(account, customers[0], data=data))
    assert list(errors(response)) == ["data"]


def test_it_saves_an_order_with_lines(
    admin_client: Client, account: Account, customers: list[Customer], changes: Recorder
) -> None:
    form = order_form(account, customers[0], {"sku": "a", "position": ""}, {"sku": "b", "value": "9.995"})
    assert admin_client.post(page(Order, "add"), form).status_code == 302
    order = Order.objects.get()
    assert order.fulfilled_at is not None
    assert [(line.position, line.sku) for line in order.lines.all()] == [(1, "a"), (2, "b")]
    assert [change.model for change in changes.all] == ["Order", "OrderLine", "OrderLine"]


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([{"position": "1"}, {"position": "1"}], "__all__"),
        ([{"quantity": "0"}], "quantity"),
        ([{"quantity": "99999999999999999999"}], "quantity"),
        ([{"value": "1.2345"}], "value"),
        ([{"sku": ""}], "sku"),
        ([{"data": "[]"}], "data"),
    ],
)
def test_it_says_what_is_wrong_with_a_line(
    admin_client: Client, account: Account, customers: list[Customer], lines: list[dict[str, Any]], field: str
) -> None:
    response = admin_client.post(page(Order, "add"), order_form(account, customers[0], *lines))
    assert field in errors(response)
    assert not Order.objects.exists()


def test_it_joins_and_removes_members(
    admin_client: Client, account: Account, customers: list[Customer], changes: Recorder
) -> None:
    assert admin_client.post(page(Audience, "add"), audience_form(account, *customers[:2])).status_code == 302
    audience = Audience.objects.get()
    first = audience.memberships.order_by("pk").first()
    form = audience_form(account, name="Renamed", audience_id=audience.audience_id) | {
        "memberships-TOTAL_FORMS": 3,
        "memberships-INITIAL_FORMS": 2,
        "memberships-0-id": first.pk,
        "memberships-0-DELETE": "on",
        "memberships-1-id": audience.memberships.order_by("pk").last().pk,
        "memberships-2-customer": customers[2].pk,
    }
    changes.clear()
    assert admin_client.post(page(Audience, "change", audience.pk), form).status_code == 302
    assert sorted(audience.customers.values_list("external_id", flat=True)) == ["c1", "c2"]
    assert sorted(
        (change.model, change.action, change.loaded) for change in changes.all if change.model == "Audience"
    ) == [("Audience", "updated", "New")]
    assert sorted(change.action for change in changes.all if change.model == "Membership") == ["created", "deleted"]


def test_it_says_what_is_wrong_with_an_audience(
    admin_client: Client, account: Account, customers: list[Customer]
) -> None:
    Audience.objects.create(account=account, name="Taken")
    Customer.objects.filter(external_id="c4").update(is_anonymous=True)
    customers[4].refresh_from_db()
    add = page(Audience, "add")
    assert list(errors(admin_client.post(add, audience_form(account, name="x" * 249)))) == ["name"]
    assert list(errors(admin_client.post(add, audience_form(account, name="   ")))) == ["name"]
    found = errors(admin_client.post(add, audience_form(account, name="Taken")))
    assert found["__all__"] == ["This account already has an audience of this name."]
    assert "Anonymous" in json.dumps(errors(admin_client.post(add, audience_form(account, customers[4]))))
    twice = audience_form(account, customers[0], customers[0])
    assert errors(admin_client.post(add, twice))
    assert Audience.objects.count() == 1


def test_it_leaves_many_members_to_their_own_page(admin_client: Client, account: Account) -> None:
    audience = Audience.objects.create(account=account, name="All")
    members = [Customer(account=account, external_id=f"m{n}") for n in range(MAX_MEMBERS_INLINE + 1)]
    audience.customers.add(*Customer.objects.bulk_create(members))
    response = admin_client.get(page(Audience, "change", audience.pk))
    assert response.context["inline_admin_formsets"] == []
    confirmation = admin_client.get(page(Audience, "delete", audience.pk))
    assert f"{MAX_MEMBERS_INLINE + 1} memberships" in confirmation.content.decode()


# --- accounts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["its page", "the list"])
def test_an_account_that_never_sent_is_deleted_with_all_it_has(admin_client: Client, db: None, way: str) -> None:
    shop, _ = merchant("shop")
    BrazePurchase.objects.all().delete()
    Delivery.objects.all().delete()
    url, form = page(Account, "delete", shop.pk), {"post": "yes"}
    if way == "the list":
        url, form = page(Account, "changelist"), form | {"action": "delete_selected", "_selected_action": str(shop.pk)}
    if way == "its page":
        shown = admin_client.get(url).content.decode()
        assert "permission" not in shown
        assert "Captured changes" in shown or "captured changes" in shown
    assert admin_client.post(url, form).status_code == 302
    for model in (Account, Customer, Order, BrazeSettings, OutboxEntry):
        assert not model.objects.exists()


def test_an_account_that_has_sent_stays_and_its_page_says_why(admin_client: Client, db: None) -> None:
    shop, _ = merchant("shop")
    url = page(Account, "delete", shop.pk)
    shown = admin_client.get(url).content.decode()
    assert "permission" not in shown
    assert "1 purchases sent" in shown and "1 requests" in shown
    assert admin_client.post(url, {"post": "yes"}).status_code == 200
    assert Account.objects.get() == shop


def test_deleting_an_account_needs_the_permission_for_what_goes_with_it(client: Client, db: None) -> None:
    shop, _ = merchant("shop")
    BrazePurchase.objects.all().delete()
    Delivery.objects.all().delete()
    eve = person("eve", "Viewer", shop)
    eve.user_permissions.set(Permission.objects.filter(codename="delete_account"))
    client.force_login(eve)
    assert "customer" in client.get(page(Account, "delete", shop.pk)).content.decode()
    assert client.post(page(Account, "delete", shop.pk), {"post": "yes"}).status_code == 403
    assert Account.objects.exists()


@pytest.mark.parametrize(
    ("model", "title"),
    [
        ("loyalty_customer", "updated at (UTC)"),
        ("loyalty_event", "occurred at (UTC)"),
        ("loyalty_order", "fulfilled at (UTC)"),
        ("loyalty_membership", "joined at (UTC)"),
        ("outbox_outboxentry", "captured (UTC)"),
        ("braze_failedsync", "failed (UTC)"),
        ("braze_skippedsync", "settled (UTC)"),
        ("braze_delivery", "composed (UTC)"),
        ("braze_brazepurchase", "time (UTC)"),
        ("braze_brazeprofile", "last accepted at (UTC)"),
    ],
)
def test_the_title_of_a_column_of_times_names_their_zone(admin_client: Client, model: str, title: str) -> None:
    changes = admin_client.get(reverse(f"admin:{model}_changelist")).context["cl"]
    assert title in [label_for_field(name, changes.model, changes.model_admin) for name in changes.list_display]


def test_a_list_is_sorted_by_a_column_of_times(
    admin_client: Client, account: Account, customers: list[Customer]
) -> None:
    late, early = (
        Event.objects.create(
            account=account, customer=customers[0], type="VISIT", occurred_at=f"2026-0{month}-01T00:00Z"
        )
        for month in (3, 2)
    )
    listed = [[*admin_client.get(page(Event, "changelist"), {"o": o}).context["cl"].result_list] for o in ("5", "-5")]
    assert listed == [[early, late], [late, early]]

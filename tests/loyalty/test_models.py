"""What a record may hold, on every way it can be written."""

import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Value, When

from integrations.outbox.models import OutboxEntry, Subscription
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order

T0 = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", ["external_id", "account"])
def test_it_keeps_a_customers_identity(
    account: Account, other_account: Account, customers: list[Customer], name: str
) -> None:
    new = {"external_id": "new", "account": other_account}[name]
    customer = customers[0]
    setattr(customer, name, new)
    for refused in (customer.save, customer.clean, lambda: Customer.objects.bulk_update([customer], [name])):
        with pytest.raises(ValidationError, match="cannot change"):
            refused()
    with pytest.raises(ValidationError, match="cannot change"):
        Customer.objects.update(**{name: new})
    stored = Customer.objects.get(pk=customer.pk)
    assert (stored.external_id, stored.account) == ("c0", account)


def test_it_keeps_the_identity_of_an_instance_made_by_hand(account: Account, customers: list[Customer]) -> None:
    with pytest.raises(ValidationError, match="cannot change"):
        Customer(pk=customers[0].pk, account=account, external_id="new").save()


def test_it_copies_a_record_under_a_new_identity(customers: list[Customer]) -> None:
    copy = Customer.objects.get(external_id="c0")
    copy.pk, copy._state.adding, copy.external_id = None, True, "copy"
    copy.save()
    assert Customer.objects.filter(external_id__in=["c0", "copy"]).count() == 2


@pytest.mark.parametrize(
    "tags",
    [["vip"], "vip", None, {"a": None}, {"a": {"b": 1}}, {"a": [1]}, {"": 1}, {"a": float("nan")}, {"a": "\x00"}],
)
def test_it_refuses_tags_that_are_no_flat_dict_of_scalars(
    account: Account, customers: list[Customer], tags: Any
) -> None:
    customer = Customer(account=account, external_id="a", tags=tags)
    for refused in (customer.save, customer.clean, lambda: Customer.objects.bulk_create([customer])):
        with pytest.raises(ValidationError) as caught:
            refused()
        assert list(caught.value.message_dict) == ["tags"]
    assert not Customer.objects.filter(external_id="a").exists()


def test_it_refuses_wrong_tags_in_an_update(customers: list[Customer]) -> None:
    with pytest.raises(ValidationError, match="must be a string"):
        Customer.objects.update(tags={"a": {"b": 1}})
    customers[0].refresh_from_db()
    assert customers[0].tags == {"n": 0}


def test_it_takes_tags_of_every_documented_type(account: Account) -> None:
    tags = {"text": "Crème brûlée 🍮", "whole": 3, "fraction": 2.5, "yes": True}
    Customer.objects.create(account=account, external_id="a", tags=tags)
    assert Customer.objects.get(external_id="a").tags == tags


@pytest.mark.parametrize("data", [[], None, {"a": float("inf")}, {"a": ["\ud800"]}, {"a": {"b": object()}}, {1: 2}])
def test_it_refuses_data_that_is_no_json_object(account: Account, customers: list[Customer], data: Any) -> None:
    with pytest.raises(ValidationError):
        Event.objects.create(account=account, customer=customers[0], type="VISIT", data=data)


def test_it_refuses_data_nested_too_deep(account: Account, customers: list[Customer]) -> None:
    data: dict[str, Any] = {}
    for _ in range(2_000):
        data = {"a": data}
    with pytest.raises(ValidationError, match="levels deep"):
        Event.objects.create(account=account, customer=customers[0], type="VISIT", data=data)


@pytest.mark.parametrize("name", ["a\x00b", "\ud83d"])
def test_it_refuses_an_id_that_a_database_would_cut_or_refuse(
    account: Account, customers: list[Customer], name: str
) -> None:
    with pytest.raises(ValidationError, match="cannot be stored"):
        Customer.objects.create(account=account, external_id=name)
    with pytest.raises(ValidationError, match="cannot be stored"):
        Order.objects.bulk_create([Order(account=account, customer=customers[0], order_id=name)])


#: In random order, as PostgreSQL compresses what repeats; three bytes each.
LETTERS = "".join(random.Random(1).choices([chr(code) for code in range(0x4E00, 0x9FFF)], k=1_024))


@pytest.mark.parametrize("length", [867, 1_024])
def test_it_refuses_an_id_that_postgresql_cannot_index(account: Account, length: int) -> None:
    with pytest.raises(ValidationError, match="an id up to 2,600"):
        Customer.objects.create(account=account, external_id=LETTERS[:length])
    with pytest.raises(ValidationError, match="an id up to 2,600"):
        Customer.objects.bulk_create([Customer(account=account, external_id=LETTERS[:length])])


def test_the_longest_id_is_stored_and_captured(account: Account) -> None:
    Subscription.objects.create(account=account, integration="one", topic="customer_created")
    longest = Customer.objects.create(account=account, external_id=LETTERS[:866])
    assert OutboxEntry.objects.get().customer_external_id == longest.external_id


@pytest.mark.parametrize("field", ["placed_at", "fulfilled_at", "closed_at"])
def test_it_refuses_a_time_that_could_not_be_read_back(account: Account, customers: list[Customer], field: str) -> None:
    late = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ValidationError, match="year 9999"):
        Order.objects.create(account=account, customer=customers[0], order_id="o", status="FULFILLED", **{field: late})


@pytest.mark.parametrize("late", ["9999-12-31T23:30:00-05:00", "0001-01-01T00:30:00+05:00"])
def test_it_refuses_such_a_time_as_text_too(account: Account, customers: list[Customer], late: str) -> None:
    """On PostgreSQL it was stored, and one such order kept all that its account had from being sent."""
    order = Order(account=account, customer=customers[0], order_id="o", status="FULFILLED", fulfilled_at=late)
    event = Event(account=account, customer=customers[0], type="LOGIN", occurred_at=late)
    for record in (order, event):
        with pytest.raises(ValidationError, match="year 9999"):
            record.save()


def test_it_refuses_such_a_time_of_customers_and_memberships(account: Account, customers: list[Customer]) -> None:
    """One such customer would keep a backfill, and the pages that list it, from reading any."""
    late = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    audience = Audience.objects.create(account=account, name="Friends")
    membership = Membership(audience=audience, customer=customers[0], joined_at=late)
    for record in (Customer(account=account, external_id="late", created_at=late), membership):
        with pytest.raises(ValidationError, match="year 9999"):
            record.save()
        with pytest.raises(ValidationError, match="year 9999"):
            type(record).objects.bulk_create([record])


@pytest.mark.parametrize("points", [Decimal("99999999999999.9999"), "-99999999999999.9999", 1e14])
def test_it_refuses_points_that_could_not_be_read_back(customers: list[Customer], points: Any) -> None:
    """On SQLite they were stored, and one such customer kept all that the account had from being sent."""
    one = customers[0]
    one.points = points
    with pytest.raises(ValidationError, match="Points are"):
        one.save()
    one.points = 10**14 - 1
    one.save()
    one.refresh_from_db()
    assert one.points == 10**14 - 1


def test_it_refuses_an_expression_where_what_changed_has_to_be_known(order: Order) -> None:
    """An order that was fulfilled this way was never captured."""
    order.status = Case(When(status="PENDING", then=Value("FULFILLED")), default=F("status"))
    order.customer.tags = Value({"vip": True}, Customer._meta.get_field("tags"))
    for record in (order, order.customer):
        with pytest.raises(ValidationError, match="cannot be saved as an expression"):
            record.save()
    with pytest.raises(ValidationError, match="cannot be saved as an expression"):
        Order.objects.bulk_create([Order(account=order.account, customer=order.customer, status=Value("FULFILLED"))])
    Order.objects.update(status=Case(When(status="PENDING", then=Value("FULFILLED")), default=F("status")))
    order.refresh_from_db()
    assert order.fulfilled_at is not None


def test_it_refuses_an_event_of_a_time_that_could_not_be_read_back(account: Account, customers: list[Customer]) -> None:
    """One such event would keep all that its customer did from being sent, and the pages that list it from opening."""
    late = datetime(9999, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    event = Event(account=account, customer=customers[0], type="LOGIN", occurred_at=late)
    with pytest.raises(ValidationError, match="year 9999"):
        event.save()
    with pytest.raises(ValidationError, match="year 9999"):
        Event.objects.bulk_create([event])


def test_it_has_each_email_address_once_per_account(account: Account, other_account: Account) -> None:
    Customer.objects.create(account=account, external_id="a", email="ana@example.com")
    Customer.objects.create(account=other_account, external_id="a", email="ana@example.com")
    Customer.objects.create(account=account, external_id="b")
    Customer.objects.create(account=account, external_id="c")
    twin = Customer(account=account, external_id="d", email="ana@example.com")
    with pytest.raises(ValidationError, match="has this email address"):
        twin.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_it_keeps_the_time_an_importer_gives(account: Account) -> None:
    customer = Customer.objects.create(account=account, external_id="a", created_at=T0)
    customer.refresh_from_db()
    assert customer.created_at == T0 < customer.updated_at


@pytest.mark.parametrize(("model", "values"), [(Event, {"type": "VISIT"}), (Order, {"order_id": "o"})])
def test_it_refuses_the_customer_of_another_account(
    account: Account, other_account: Account, model: type[Event] | type[Order], values: dict[str, str]
) -> None:
    stranger = Customer.objects.create(account=other_account, external_id="s")
    record = model(account=account, customer=stranger, **values)
    for refused in (record.save, record.clean, lambda: model.objects.bulk_create([record])):
        with pytest.raises(ValidationError, match="another account"):
            refused()


def test_it_makes_an_audience_id(account: Account) -> None:
    first = Audience.objects.create(account=account, name="A")
    second = Audience(account=account, name="B")
    Audience.objects.bulk_create([second])
    assert first.audience_id != second.audience_id
    assert len(second.audience_id) == 32
    assert Audience.objects.create(account=account, name="C", audience_id="mine").audience_id == "mine"


@pytest.mark.parametrize("name", ["", "  ", "x" * 249])
def test_it_refuses_a_name_braze_could_not_hold(account: Account, name: str) -> None:
    audience = Audience(account=account, name=name)
    for refused in (audience.save, audience.clean, lambda: Audience.objects.bulk_create([audience])):
        with pytest.raises(ValidationError) as caught:
            refused()
        assert list(caught.value.message_dict) == ["name"]


def test_it_takes_a_name_of_248_characters_once_per_account(account: Account, other_account: Account) -> None:
    Audience.objects.create(account=account, name="x" * 248)
    Audience.objects.create(account=other_account, name="x" * 248)
    with pytest.raises(IntegrityError), transaction.atomic():
        Audience.objects.create(account=account, name="x" * 248)


@pytest.mark.parametrize(("field", "value"), [("currency", "usd"), ("currency", "US"), ("time_zone", "Mars/Olympus")])
def test_it_refuses_an_account_with_no_such_currency_or_time_zone(account: Account, field: str, value: str) -> None:
    setattr(account, field, value)
    with pytest.raises(ValidationError) as caught:
        account.full_clean()
    assert list(caught.value.message_dict) == [field]


@pytest.mark.parametrize("slug", ["", "shop/1"])
def test_it_refuses_a_slug_that_no_page_could_have_in_its_address(db: None, slug: str) -> None:
    with pytest.raises(ValidationError, match="part of addresses"):
        Account.objects.create(name="Shop", slug=slug)

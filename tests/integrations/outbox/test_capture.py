"""Every way of changing a record leaves exactly one entry per integration that wants it, in the same transaction."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from integrations.outbox import capture, changes
from integrations.outbox.models import OutboxEntry, Status, Subscription, Topic
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

Captured = Callable[[], list[tuple[str, str]]]
Want = Callable[..., None]


def customer(account: Account, external_id: str = "c1", **fields: object) -> Customer:
    return Customer.objects.create(account=account, external_id=external_id, **fields)


def fulfilled(account: Account, of: Customer, order_id: str = "o1") -> Order:
    return Order.objects.create(account=account, customer=of, order_id=order_id, status="FULFILLED")


# --- what is wanted ---------------------------------------------------------------------------------------


def test_a_capture_is_not_before_its_own_moment(account: Account, want: Want) -> None:
    """SQLite compares times as text: one of three digits would be before the same one of six."""
    want(Topic.EVENTS)
    one = customer(account)
    for _ in range(3):  # a moment may end in a zero
        Event.objects.create(account=account, customer=one, type="LOGIN")
    for entry in OutboxEntry.objects.all():
        assert not OutboxEntry.objects.filter(pk=entry.pk, created_at__lt=entry.created_at).exists()


def test_it_writes_nothing_where_nobody_wants_anything(account: Account, captured: Captured) -> None:
    one = customer(account, tags={"vip": True})
    Event.objects.create(account=account, customer=one, type="LOGIN")
    OrderLine.objects.create(order=fulfilled(account, one), sku="CD", quantity=1, value=1)
    Audience.objects.create(account=account, name="Club").customers.add(one)
    one.delete()
    assert captured() == []


def test_it_asks_and_writes_in_one_statement(account: Account, want_all: None) -> None:
    one = customer(account)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        one.save()
    writes = [query["sql"] for query in queries if "outbox" in query["sql"]]
    assert len(writes) == 1
    assert writes[0].startswith("INSERT INTO")


def test_it_writes_only_wanted_topics(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.EVENTS)
    one = customer(account)
    Event.objects.create(account=account, customer=one, type="LOGIN")
    fulfilled(account, one)
    assert captured() == [("event", "c1")]


def test_it_writes_one_entry_for_each_integration(account: Account, want: Want) -> None:
    want(Topic.EVENTS)
    want(Topic.EVENTS, Topic.ORDERS, integration="other")
    Event.objects.bulk_create(Event(account=account, customer=customer(account), type="LOGIN") for _ in range(1))
    Event.objects.create(account=account, customer=Customer.objects.get(), type="LOGIN")
    written = OutboxEntry.objects.order_by("pk").values_list("integration", flat=True)
    assert sorted(written) == ["braze", "braze", "other", "other"]


def test_it_keeps_accounts_apart(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.CUSTOMER_CREATED)
    customer(Account.objects.create(name="Other", slug="other"))
    assert captured() == []


def test_it_sees_a_subscription_that_ended_a_moment_ago(account: Account, want_all: None, captured: Captured) -> None:
    one = customer(account)
    captured()
    Subscription.objects.filter(topic=Topic.EVENTS).delete()
    Event.objects.create(account=account, customer=one, type="LOGIN")
    assert captured() == []


# --- the same transaction ---------------------------------------------------------------------------------


def test_it_rolls_back_with_the_change(account: Account, want_all: None, captured: Captured) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        customer(account)
        Event.objects.bulk_create([Event(account=account, customer=Customer.objects.get(), type="LOGIN")])
        assert len(captured()) == 2
        raise RuntimeError
    assert OutboxEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_it_fails_the_save_rather_than_lose_the_entry(want_all: None, account: Account, monkeypatch) -> None:
    """Without a surrounding transaction too: the row and its entry stand or fall together."""
    monkeypatch.setattr(OutboxEntry._meta, "db_table", "nowhere")
    with pytest.raises(DatabaseError):
        customer(account)
    assert Customer.objects.count() == 0


# --- customers --------------------------------------------------------------------------------------------


def test_it_captures_a_customer_on_every_path(account: Account, want_all: None, captured: Captured) -> None:
    one = customer(account)
    assert captured() == [("customer_created", "c1")]
    one.first_name = "Ada"
    one.save()
    assert captured() == [("customer_updated", "c1")]
    Customer.objects.bulk_create(
        [Customer(account=account, external_id="c2"), Customer(account=account, external_id="c3")]
    )
    assert captured() == [("customer_created", "c2"), ("customer_created", "c3")]
    Customer.objects.filter(external_id="c2").update(city="Paris")
    assert captured() == [("customer_updated", "c2")]
    two = Customer.objects.get(external_id="c2")
    two.city = "Rome"
    Customer.objects.bulk_update([two], ["city"])
    assert captured() == [("customer_updated", "c2")]
    Customer.objects.filter(external_id__in=["c2", "c3"]).delete()
    assert sorted(captured()) == [("customer_deleted", "c2"), ("customer_deleted", "c3")]
    one.delete()
    assert captured() == [("customer_deleted", "c1")]


def test_it_captures_a_tag_change_where_only_tags_are_wanted(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.CUSTOMER_TAGS)
    one = customer(account)
    one.first_name = "Ada"
    one.save()
    assert captured() == []
    one.tags["vip"] = True
    one.save()
    assert captured() == [("customer_updated", "c1")]


def test_it_tells_a_tag_that_is_true_from_one_that_is_1(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.CUSTOMER_TAGS)
    one = customer(account, tags={"vip": 1})
    captured()
    one.tags = {"vip": True}
    one.save()
    assert captured() == [("customer_updated", "c1")]
    Customer.objects.filter(pk=one.pk).update(tags={"vip": 1})
    assert captured() == [("customer_updated", "c1")]


def test_it_names_the_tags_that_were_removed(account: Account, want_all: None) -> None:
    one = customer(account, tags={"vip": True, "size": 3})
    del one.tags["vip"]
    one.save()
    assert OutboxEntry.objects.latest("pk").data == {"removed_tags": ["vip"]}
    Customer.objects.filter(pk=one.pk).update(tags={})
    assert OutboxEntry.objects.latest("pk").data == {"removed_tags": ["size"]}


def test_it_skips_what_waits_for_a_customer_who_is_deleted(account: Account, want_all: None) -> None:
    one, two = customer(account), customer(account, "c2")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    one.delete()
    of_one = OutboxEntry.objects.filter(customer_external_id="c1").order_by("pk")
    assert [(entry.kind, entry.status) for entry in of_one] == [
        ("customer_created", Status.SKIPPED),
        ("event", Status.SKIPPED),
        ("customer_deleted", Status.PENDING),
    ]
    assert of_one[0].error == "customer deleted"
    assert OutboxEntry.objects.get(customer_external_id=two.external_id).status == Status.PENDING


def test_it_skips_only_what_waits_for_an_integration_that_wants_deletions(account: Account, want: Want) -> None:
    """Nor does it count what another account's integration wants."""
    want(Topic.EVENTS)
    want(Topic.EVENTS, Topic.CUSTOMER_DELETED, integration="other")
    elsewhere = Account.objects.create(name="Elsewhere", slug="elsewhere")
    Subscription.objects.create(account=elsewhere, integration="braze", topic=Topic.CUSTOMER_DELETED)
    one = customer(account)
    Event.objects.create(account=account, customer=one, type="LOGIN")
    one.delete()
    statuses = dict(OutboxEntry.objects.filter(kind="event").values_list("integration", "status"))
    assert statuses == {"braze": Status.PENDING, "other": Status.SKIPPED}


def test_it_skips_what_waits_for_several_who_are_deleted_together(account: Account, want_all: None) -> None:
    people = [customer(account, name) for name in ("c1", "c2", "c3")]
    capture.record([changes.customer_deleted(one) for one in people[:2]])
    skipped = OutboxEntry.objects.filter(status=Status.SKIPPED)
    assert set(skipped.values_list("customer_external_id", "kind")) == {
        ("c1", "customer_created"), ("c2", "customer_created")
    }  # fmt: skip
    assert not skipped.filter(settled_at=None).exists()


# --- events and orders ------------------------------------------------------------------------------------


def test_it_captures_an_event_once(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.EVENTS)
    one = customer(account)
    event = Event.objects.create(account=account, customer=one, type="LOGIN")
    assert captured() == [("event", "c1")]
    event.type = "LOGOUT"
    event.save()
    assert captured() == []
    Event.objects.bulk_create([Event(account=account, customer=one, type="LOGIN") for _ in range(3)])
    assert captured() == [("event", "c1")] * 3


def test_it_captures_an_order_once_it_is_fulfilled(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.ORDERS)
    order = Order.objects.create(account=account, customer=customer(account), order_id="o1")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=1)
    assert captured() == []
    order.status = "FULFILLED"
    order.save()
    assert captured() == [("order", "c1")]
    Order.objects.filter(pk=order.pk).update(status="REVERSED")
    assert captured() == [("order", "c1")]
    assert OutboxEntry.objects.latest("pk").data == {"order_id": "o1", "status": "REVERSED"}


@pytest.mark.parametrize(
    "write",
    [
        lambda order: order.save(),
        lambda order: Order.objects.filter(pk=order.pk).update(status=order.status),
        lambda order: Order.objects.bulk_update([order], ["status"]),
    ],
)
def test_it_notes_that_an_order_was_closed_before(account: Account, want: Want, write: Callable[[Order], None]) -> None:
    want(Topic.ORDERS)
    order = Order.objects.create(account=account, customer=customer(account), order_id="o1", status="REVERSED")
    order.status = "FULFILLED"
    write(order)
    assert OutboxEntry.objects.latest("pk").data == {"order_id": "o1", "status": "FULFILLED", "reopened": True}


def test_lines_of_many_orders_take_no_more_queries_than_those_of_few(
    account: Account, want: Want, captured: Captured
) -> None:
    """An import brings them by the thousand, each of another customer."""
    want(Topic.ORDERS)
    orders = [fulfilled(account, customer(account, f"c{number}"), f"o{number}") for number in range(9)]
    counts = []
    for some in (orders[:2], orders[2:]):
        with CaptureQueriesContext(connection) as queries:
            OrderLine.objects.bulk_create([OrderLine(order=order, position=1, sku="CD", value=1) for order in some])
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert captured()[9:] == [("order_line", f"c{number}") for number in range(9)]


def test_it_captures_a_line_added_to_a_fulfilled_order(account: Account, want: Want, captured: Captured) -> None:
    want(Topic.ORDERS)
    order = fulfilled(account, customer(account))
    captured()
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=1)
    assert captured() == [("order_line", "c1")]
    OrderLine.objects.bulk_create(
        [OrderLine(order=order, sku="LP", quantity=1, value=1), OrderLine(order=order, sku="MC", quantity=1, value=1)]
    )
    assert captured() == [("order_line", "c1")] * 2


def test_it_looks_at_the_stored_order_not_at_an_older_copy(account: Account, want: Want, captured: Captured) -> None:
    """A line that is added through an instance loaded before another process fulfilled the order must not be lost."""
    want(Topic.ORDERS)
    stale = Order.objects.create(account=account, customer=customer(account), order_id="o1")
    Order.objects.filter(pk=stale.pk).update(status="FULFILLED")
    captured()
    OrderLine.objects.create(order=stale, sku="CD", quantity=1, value=1)
    assert captured() == [("order_line", "c1")]


# --- what is no change of the merchant's ------------------------------------------------------------------


def test_it_ignores_fixtures(account: Account, want_all: None, captured: Captured, tmp_path: Path) -> None:
    one = customer(account)
    OrderLine.objects.create(order=fulfilled(account, one), sku="CD", quantity=1, value=1)
    Event.objects.create(account=account, customer=one, type="LOGIN")
    Audience.objects.create(account=account, name="Club").customers.add(one)
    fixture = tmp_path / "loyalty.json"
    call_command("dumpdata", "loyalty", output=str(fixture), verbosity=0)
    captured()
    call_command("loaddata", str(fixture), verbosity=0, stdout=StringIO())
    assert captured() == []


def test_it_lets_an_account_go_with_all_its_records(account: Account, want_all: None) -> None:
    elsewhere = Account.objects.create(name="Elsewhere", slug="elsewhere")
    other = Subscription.objects.create(account=elsewhere, integration="braze", topic=Topic.EVENTS)
    one = customer(account)
    Audience.objects.create(account=account, name="Club").customers.add(one)
    account.delete()
    assert OutboxEntry.objects.count() == 0
    assert Subscription.objects.get() == other

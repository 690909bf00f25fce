"""Every way of writing a record is told of exactly once, in the transaction of the write."""

import uuid
from collections.abc import Callable
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, NotSupportedError, connection, transaction
from django.db.models import Case, F, Value, When
from django.test.utils import CaptureQueriesContext

from masivo_braze.loyalty import querysets
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine
from masivo_braze.loyalty.signals import rows_changed
from tests.loyalty.recorder import Recorder


def test_it_tells_of_save_and_delete_once(account: Account, changes: Recorder) -> None:
    customer = Customer.objects.create(account=account, external_id="a")
    pk = customer.pk
    customer.save()
    customer.delete()
    assert [(change.action, change.pk, change.via) for change in changes.all] == [
        ("created", pk, "row"),
        ("updated", pk, "row"),
        ("deleted", pk, "row"),
    ]


def test_it_tells_of_get_or_create_and_update_or_create_once(account: Account, changes: Recorder) -> None:
    customer, _ = Customer.objects.get_or_create(account=account, external_id="a")
    Customer.objects.get_or_create(account=account, external_id="a")
    Customer.objects.update_or_create(account=account, external_id="a", defaults={"tier": "gold"})
    assert changes.brief() == [("Customer", "created", customer.pk), ("Customer", "updated", customer.pk)]


@pytest.mark.django_db(transaction=True)
def test_it_tells_inside_a_transaction_even_in_autocommit(account: Account, changes: Recorder) -> None:
    customer = Customer.objects.create(account=account, external_id="a")
    customer.save()
    audience = Audience.objects.create(account=account, name="A")
    audience.customers.add(customer)
    Customer.objects.update(tier="gold")
    audience.delete()
    customer.delete()
    assert len(changes.all) == 8
    assert changes.outside_transaction == []


@pytest.mark.django_db(transaction=True)
def test_it_undoes_a_save_whose_receiver_fails(account: Account) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no room")

    rows_changed.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            Customer.objects.bulk_create([Customer(account=account, external_id="a")])
    finally:
        rows_changed.disconnect(fail)
    assert not Customer.objects.exists()


def test_it_tells_of_bulk_create(account: Account, changes: Recorder) -> None:
    rows = Customer.objects.bulk_create([Customer(account=account, external_id=str(n)) for n in range(3)])
    assert changes.brief() == [("Customer", "created", row.pk) for row in rows]
    assert {change.via for change in changes.all} == {"bulk"}


def test_it_loads_the_relations_of_bulk_rows(
    account: Account, order: Order, customers: list[Customer], changes: Recorder, django_assert_num_queries
) -> None:
    Event.objects.bulk_create([Event(account=account, customer_id=customers[1].pk, type="VISIT")])
    Order.objects.bulk_create([Order(account=account, customer_id=customers[1].pk, order_id="o-2")])
    OrderLine.objects.bulk_create([OrderLine(order_id=order.pk, sku="s", value=1)])
    audience = Audience.objects.create(account=account, name="A")
    Membership.objects.bulk_create([Membership(audience_id=audience.pk, customer_id=customers[1].pk)])
    rows = {change.model: change.row for change in changes.all}
    with django_assert_num_queries(0):
        assert rows["Event"].customer.external_id == "c1"
        assert rows["Order"].customer.external_id == "c1"
        assert (rows["OrderLine"].order.status, rows["OrderLine"].order.customer.external_id) == ("PENDING", "c0")
        assert (rows["Membership"].audience.name, rows["Membership"].customer.external_id) == ("A", "c1")


def test_it_tells_of_update_with_the_values_from_before(customers: list[Customer], changes: Recorder) -> None:
    assert Customer.objects.filter(external_id__in=["c1", "c2"]).update(tags={"new": True}, tier="gold") == 2
    assert changes.brief() == [("Customer", "updated", customers[1].pk), ("Customer", "updated", customers[2].pk)]
    first = changes.all[0]
    assert first.changed == {"tags", "tier"}
    assert first.before == {"tags": {"n": 1}}
    assert first.row.tags == {"new": True}


def test_it_tells_of_updates_of_other_records(order: Order, account: Account, changes: Recorder) -> None:
    audience = Audience.objects.create(account=account, name="Old")
    line = OrderLine.objects.create(order=order, sku="s", value=1)
    event = Event.objects.create(account=account, customer_id=order.customer_id, type="VISIT")
    changes.clear()
    Audience.objects.update(name="New")
    Order.objects.update(channel="web", store="Main Street")
    OrderLine.objects.update(quantity=F("quantity") + 1)
    Event.objects.update(data={"x": 1})
    assert [(c.model, c.action, c.pk, c.changed, c.before) for c in changes.all] == [
        ("Audience", "updated", audience.pk, {"name"}, {"name": "Old"}),
        ("Order", "updated", order.pk, {"channel", "store"}, {"status": "PENDING"}),
        ("OrderLine", "updated", line.pk, {"quantity"}, {}),
        ("Event", "updated", event.pk, {"data"}, {}),
    ]
    assert changes.all[2].row.quantity == 2


def test_it_tells_nothing_of_an_update_that_matches_nothing(customers: list[Customer], changes: Recorder) -> None:
    assert Customer.objects.filter(external_id="nobody").update(tier="gold") == 0
    assert Customer.objects.update() == 0
    assert changes.all == []


def test_it_updates_through_joins_duplicates_and_annotations(
    account: Account, customers: list[Customer], changes: Recorder
) -> None:
    for _ in range(2):
        Event.objects.create(account=account, customer=customers[0], type="VISIT")
    changes.clear()
    assert Customer.objects.filter(events__type="VISIT").update(tier="visitor") == 1
    annotated = Customer.objects.annotate(wanted=Case(When(external_id="c1", then=Value("one")), default=Value("more")))
    assert annotated.filter(external_id__in=["c1", "c2"]).update(city=F("wanted")) == 2
    assert [change.pk for change in changes.all] == [customer.pk for customer in customers[:3]]
    assert [c.city for c in Customer.objects.order_by("pk")] == ["", "one", "more", "", ""]


def test_it_tells_of_an_update_whose_rows_no_longer_match_it(customers: list[Customer], changes: Recorder) -> None:
    assert Customer.objects.filter(tier="").update(tier="gold") == 5
    assert len(changes.all) == 5


def test_what_an_update_writes_first_does_not_decide_what_else_it_matches(
    account: Account, customers: list[Customer], changes: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querysets.chunked, "__defaults__", (2,))
    for number, status in enumerate(["FULFILLED", *["PENDING"] * 4]):
        Order.objects.create(account=account, customer=customers[0], order_id=str(number), status=status)
    changes.clear()
    of_buyers = Order.objects.filter(customer__orders__status="FULFILLED")
    assert of_buyers.annotate(wanted=Value("CANCELLED")).update(status=F("wanted")) == 5
    assert Order.objects.filter(customer__orders__status="CANCELLED").update(status="PENDING") == 5
    with_open_orders = Customer.objects.filter(orders__status="PENDING")
    assert Order.objects.filter(customer__in=with_open_orders).update(status="EXPIRED") == 5
    assert len(changes.all) == 15


def test_rows_of_a_large_update_are_matched_twice_only_where_others_decide(
    customers: list[Customer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querysets.chunked, "__defaults__", (2,))
    with CaptureQueriesContext(connection) as by_columns:
        Customer.objects.filter(tier="").update(tier="gold")
    with CaptureQueriesContext(connection) as by_others:
        Customer.objects.filter(pk__in=Customer.objects.filter(tier="gold")).update(tier="silver")
    assert len(by_columns) == len(by_others) - 3


def test_it_tells_of_bulk_update_once(customers: list[Customer], changes: Recorder) -> None:
    for customer in customers:
        customer.tags = {"renewed": True}
    assert Customer.objects.bulk_update(customers, ["tags"], batch_size=2) == 5
    assert changes.brief() == [("Customer", "updated", customer.pk) for customer in customers]
    assert [change.before for change in changes.all] == [{"tags": {"n": n}} for n in range(5)]
    assert customers[0].loaded_tags == {"renewed": True}


def test_an_order_cannot_be_moved_to_another_customer_through_the_reverse_relation(
    account: Account, order: Order, customers: list[Customer], changes: Recorder
) -> None:
    """What was sent for it is another customer's. Django writes this through the base manager."""
    with pytest.raises(ValidationError, match="cannot change"):
        customers[3].orders.add(order)
    assert changes.all == []


def test_it_tells_of_queryset_delete_row_by_row(order: Order, changes: Recorder) -> None:
    customer, order_pk = order.customer, order.pk
    line = OrderLine.objects.create(order=order, sku="s", value=1)
    changes.clear()
    Customer.objects.filter(pk=customer.pk).delete()
    assert changes.brief() == [
        ("Customer", "deleted", customer.pk),
        ("Order", "deleted", order_pk),
        ("OrderLine", "deleted", line.pk),
    ]
    assert {change.via for change in changes.all} == {"row"}


def test_it_sends_long_lists_in_chunks(account: Account, changes: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querysets.chunked, "__defaults__", (4,))
    Customer.objects.bulk_create([Customer(account=account, external_id=str(n)) for n in range(10)])
    Customer.objects.update(tier="gold")
    audience = Audience.objects.create(account=account, name="A")
    audience.recalculate(str(n) for n in range(10))
    audience.delete()
    assert changes.chunk_sizes == [4, 4, 2] * 4


def test_it_tells_only_of_rows_inserted_when_conflicts_are_ignored(
    account: Account, customers: list[Customer], changes: Recorder
) -> None:
    rows = [Customer(account=account, external_id=name) for name in ("x", "c0", "y", "c1", "c2", "z")]
    Customer.objects.bulk_create(rows, ignore_conflicts=True)
    told = {change.row.external_id for change in changes.all}
    assert told == {"x", "y", "z"} and len(changes.all) == 3
    assert Customer.objects.count() == 8
    assert [row.pk is None for row in rows] == [False, True, False, True, True, False]


def test_it_refuses_to_update_conflicts(account: Account, changes: Recorder) -> None:
    with pytest.raises(NotSupportedError, match="not captured"):
        Customer.objects.bulk_create(
            [Customer(account=account, external_id="a")],
            update_conflicts=True,
            unique_fields=["account", "external_id"],
            update_fields=["tier"],
        )
    assert changes.all == []


def test_it_raises_on_a_conflict_that_is_not_ignored(account: Account, customers: list[Customer]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Customer.objects.bulk_create([Customer(account=account, external_id="c0")])


def test_it_captures_the_async_variants(account: Account, customers: list[Customer], changes: Recorder) -> None:
    async def write() -> None:
        await Customer.objects.filter(external_id="c0").aupdate(tier="gold")
        await Customer.objects.abulk_create([Customer(account=account, external_id="a")])
        customers[1].tier = "silver"
        await Customer.objects.abulk_update([customers[1]], ["tier"])
        await customers[2].asave()

    async_to_sync(write)()
    assert [change.action for change in changes.all] == ["updated", "created", "updated", "updated"]


def test_it_shows_receivers_the_stored_values_from_before(
    account: Account, customers: list[Customer], order: Order, changes: Recorder
) -> None:
    audience = Audience.objects.create(account=account, name="Old")
    changes.clear()
    customer = Customer.objects.get(external_id="c0")
    customer.tags["n"] = 7  # in place: the remembered ones are a copy
    customer.save()
    audience.name = "New"
    audience.save()
    order.status = Order.Status.FULFILLED
    order.save()
    assert [change.loaded for change in changes.all] == [{"n": 0}, "Old", "PENDING"]
    assert (customer.loaded_tags, audience.loaded_name, order.loaded_status) == ({"n": 7}, "New", "FULFILLED")


def test_it_has_no_values_from_before_for_a_new_record(account: Account, changes: Recorder) -> None:
    customer = Customer(account=account, external_id="a", tags={"x": 1})
    assert customer.loaded_tags is None
    customer.save()
    assert changes.all[0].loaded is None
    assert customer.loaded_tags == {"x": 1}


@pytest.mark.parametrize("how", ["deferred", "made by hand", "other fields first"])
def test_it_finds_values_from_before_that_were_not_loaded(
    account: Account, customers: list[Customer], changes: Recorder, how: str
) -> None:
    if how == "deferred":
        customer = Customer.objects.defer("tags").get(external_id="c0")
    elif how == "made by hand":
        customer = Customer(pk=customers[0].pk, account=account, external_id="c0", created_at=customers[0].created_at)
    else:
        customer = customers[0]
    customer.tags = {}
    if how == "other fields first":
        customer.save(update_fields=["tier"])
        changes.clear()
    customer.save()
    assert [(change.action, change.loaded) for change in changes.all] == [("updated", {"n": 0})]


def update_and_refresh(one: Customer) -> None:
    Customer.objects.filter(pk=one.pk).update(tags=one.tags)
    one.refresh_from_db()


@pytest.mark.parametrize(
    "write", [Customer.save, lambda one: Customer.objects.bulk_update([one], ["tags"]), update_and_refresh]
)
def test_it_does_not_take_for_stored_what_was_rolled_back(
    customers: list[Customer], changes: Recorder, write: Callable[[Customer], object]
) -> None:
    one = Customer.objects.get(external_id="c0")
    one.tags = {"vip": True}
    with transaction.atomic():
        write(one)
        transaction.set_rollback(True)
    changes.clear()
    one.save()
    assert [change.loaded for change in changes.all] == [{"n": 0}]


def test_what_was_rolled_back_can_be_created_under_another_id(account: Account) -> None:
    customer = Customer(account=account, external_id="a")
    with transaction.atomic():
        customer.save()
        transaction.set_rollback(True)
    customer.external_id = "b"
    customer.save()
    assert [each.external_id for each in Customer.objects.all()] == ["b"]


def test_it_renews_the_remembered_values_when_refreshed(customers: list[Customer]) -> None:
    Customer.objects.filter(external_id="c0").update(tags={"n": 8})
    customers[0].refresh_from_db()
    assert customers[0].loaded_tags == {"n": 8}
    deferred = Customer.objects.only("external_id").get(external_id="c0")
    assert deferred.tags == {"n": 8} == deferred.loaded_tags


def test_it_tells_of_an_event_saved_with_an_id_of_its_own(
    account: Account, customers: list[Customer], changes: Recorder
) -> None:
    pk = uuid.uuid4()
    Event.objects.create(id=pk, account=account, customer=customers[0], type="VISIT")
    assert changes.brief() == [("Event", "created", pk)]


def test_it_rolls_back_a_bulk_write_that_breaks_a_rule(
    account: Account, other_account: Account, customers: list[Customer], changes: Recorder
) -> None:
    stranger = Customer.objects.create(account=other_account, external_id="s")
    good = Event(account=account, customer=customers[0], type="VISIT")
    bad = Event(account=account, customer=stranger, type="VISIT")
    with pytest.raises(ValidationError, match="another account"):
        Event.objects.bulk_create([good, bad])
    assert not Event.objects.exists()
    good.save(force_insert=True)
    with pytest.raises(ValidationError, match="cannot change"):
        Event.objects.update(customer=stranger)
    good.refresh_from_db()
    assert good.customer == customers[0]


def test_it_keeps_money_exact(order: Order) -> None:
    line = OrderLine(order=order, sku="s", value=Decimal("10.500"), discounted_value=Decimal("0.000"))
    line.save()
    line.refresh_from_db()
    assert line.paid == Decimal("0")
    assert OrderLine(value=Decimal("10.005")).paid == Decimal("10.005")

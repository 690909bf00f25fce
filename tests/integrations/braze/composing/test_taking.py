"""A pass takes whole customers, in the order of their oldest changes, once."""

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations.braze.composing import relay, taking
from integrations.braze.composing.taking import Pass
from integrations.braze.models import BrazeSettings
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Shop", slug="shop")


@pytest.fixture(autouse=True)
def two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "TAKE", 2)


def change(account: Account, customer: str, **fields: object) -> OutboxEntry:
    fields = {"integration": "braze", "kind": Kind.EVENT, "subject": "1"} | fields
    return OutboxEntry.objects.create(account=account, customer_external_id=customer, **fields)


def taken(passing: Pass) -> list[tuple[int, str]]:
    return [(entry.pk, entry.customer_external_id) for entry in passing.take(database_now())]


def everything(passing: Pass) -> list[list[str]]:
    rounds = []
    while not passing.is_over:
        rounds.append([customer for _, customer in taken(passing)])
    return rounds


def test_it_takes_a_customer_with_all_that_is_pending(account: Account) -> None:
    for customer in ("a", "b", "c", "a", "c", "a"):
        change(account, customer)
    assert everything(Pass(account.pk)) == [["a", "b", "a", "a"], ["c", "c"], []]


def test_it_takes_nobody_twice_in_a_pass(account: Account) -> None:
    """Who was taken is on the way; who was settled meanwhile is left to the next pass."""
    passing = Pass(account.pk)
    change(account, "a"), change(account, "b")
    assert len(taken(passing)) == 2
    change(account, "a"), change(account, "c")
    assert [customer for _, customer in taken(passing)] == ["c"]


def test_it_leaves_out_who_is_busy_or_waits(account: Account) -> None:
    soon = timezone.now() + timedelta(minutes=1)
    change(account, "busy", status=Status.BUFFERED), change(account, "busy")
    change(account, "waits", due_at=soon), change(account, "waits")
    change(account, "parked", due_at=soon, parked=True), change(account, "parked")
    change(account, "free")
    assert sorted(customer for each in everything(Pass(account.pk)) for customer in each) == ["free", "parked"]


def test_nobody_is_busy_for_another_integrations_sake_nor_for_what_is_settled(account: Account) -> None:
    soon = database_now() + timedelta(minutes=1)
    change(account, "a", integration="other", status=Status.BUFFERED), change(account, "a")
    change(account, "b", status=Status.SKIPPED, due_at=soon), change(account, "b")
    assert sorted(customer for each in everything(Pass(account.pk)) for customer in each) == ["a", "b"]


def test_it_brings_along_what_was_committed_late(account: Account) -> None:
    """Ids are given before commits: an entry may become visible after later ones have been passed."""
    late = change(account, "c", integration="nobody yet")
    for customer in ("a", "b"):
        change(account, customer)
    passing = Pass(account.pk)
    assert len(taken(passing)) == 2
    OutboxEntry.objects.filter(pk=late.pk).update(integration="braze")  # its transaction ends
    second = change(account, "c")
    assert taken(passing) == [(late.pk, "c"), (second.pk, "c")]


def test_it_takes_only_the_beginning_of_very_many_changes(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "MOST_OF_CUSTOMER", 3)
    mine = [change(account, "a") for _ in range(5)]
    assert [pk for pk, _ in taken(Pass(account.pk))] == [entry.pk for entry in mine[:3]]


def test_it_takes_fewer_customers_where_all_of_them_have_too_much(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But each with all that is pending: the rest of a customer would take a request of its own later."""
    monkeypatch.setattr(taking, "TAKE", 3)
    monkeypatch.setattr(taking, "MOST", 4)
    for customer in ("a", "b", "c", "b", "c", "a", "c", "d", "c"):
        change(account, customer)
    assert everything(Pass(account.pk)) == [["a", "b", "b", "a"], ["c", "c", "c", "c"], ["d"], []]


def test_it_takes_the_next_customer_after_one_who_has_too_much(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "MOST", 3)
    monkeypatch.setattr(taking, "MOST_OF_CUSTOMER", 3)
    for customer in ("a", "b", "a", "b", "a", "a"):
        change(account, customer)
    assert everything(Pass(account.pk)) == [["a", "a", "a"], ["b", "b"], []]


def test_it_goes_past_many_who_are_busy(account: Account) -> None:
    for number in range(10):
        change(account, f"busy-{number}", status=Status.BUFFERED), change(account, f"busy-{number}")
    change(account, "free")
    passing = Pass(account.pk)
    assert [customer for _, customer in taken(passing)] == ["free"]
    assert passing.is_over


def test_it_takes_no_more_events_of_a_customer_than_a_request_holds(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no event and stands before the next one comes too."""
    monkeypatch.setattr(taking, "MAX_PER_ARRAY", 2)
    for _ in range(2):
        change(account, "a")
        change(account, "b")
    change(account, "a", kind=Kind.CUSTOMER_UPDATED)
    for customer in ("a", "a", "b", "b"):
        change(account, customer)
    rows = Pass(account.pk).take(database_now())
    assert [(entry.customer_external_id, entry.kind) for entry in rows if entry.customer_external_id == "a"] == [
        ("a", "event"), ("a", "event"), ("a", "customer_updated"),
    ]  # fmt: skip
    assert [(entry.customer_external_id, entry.kind) for entry in rows if entry.customer_external_id == "b"] == [
        ("b", "event"), ("b", "event"),
    ]  # fmt: skip


def test_the_one_change_of_a_customer_for_whom_there_was_no_room_is_next(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 3)
    monkeypatch.setattr(taking, "MOST", 2)
    for customer in ("a", "a", "b"):
        change(account, customer)
    assert everything(Pass(account.pk)) == [["a", "a"], ["b"]]


def test_the_one_change_of_a_customer_that_is_put_back_is_next(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "TAKE", 4)
    first, second, third = (change(account, customer) for customer in ("a", "b", "c"))
    passing = Pass(account.pk)
    kept = passing.put_back(passing.take(database_now()), second.pk)
    assert [entry.pk for entry in kept] == [first.pk]
    assert taken(passing) == [(second.pk, "b"), (third.pk, "c")]


def test_what_comes_along_of_a_sale_is_its_own_customer_s(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is another customer's now, who is busy: two requests with one customer would be on their way."""
    monkeypatch.setattr(taking, "MAX_PER_ARRAY", 2)
    of_order = {"subject": "7", "data": {"order_id": "o1", "status": "FULFILLED"}}
    change(account, "b", status=Status.BUFFERED)
    change(account, "a", kind=Kind.ORDER, **of_order)
    for _ in range(3):
        change(account, "a")
    line = change(account, "a", kind=Kind.ORDER_LINE, **of_order)
    change(account, "b", kind=Kind.ORDER, **of_order)
    found = [(pk, customer) for pk, customer in taken(Pass(account.pk)) if pk >= line.pk]
    assert found == [(line.pk, "a")]


def test_a_slice_in_which_all_is_skipped_goes_on_at_once(account: Account, one: Customer, sync: Sync) -> None:
    """It tells that it moved something, though it made no request: a million changes may be waiting behind it."""
    sync()
    for _ in range(3):
        Event.objects.create(account=account, customer=one, type="VISIT")
    BrazeSettings.objects.update(sync_events=False)
    assert relay.relay(account.pk) == 3
    assert relay.relay(account.pk) == 0
    assert OutboxEntry.objects.filter(kind="event", status="skipped").count() == 3

"""Two transactions at once, on a database that lets them: each test holds one open until the other waits for it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, connections, transaction

from dev.waiting import wait_until
from masivo_braze.loyalty.importing.apply import apply_records
from masivo_braze.loyalty.importing.records import CustomerRecord
from masivo_braze.loyalty.models import Account, Audience, Customer, Membership, Order, OrderLine
from tests.loyalty.recorder import Recorder

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Open a transaction; on leaving, start `work` in another one and commit when it waits for this one."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            future: Future[Any] = Future()
            yield future
            running = pool.submit(_in_own_connection, work)
            wait_until(_somebody_waits, "the other transaction to wait")
        future.set_result(running.result(timeout=10))


def _in_own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_it_does_not_update_a_row_that_stopped_matching_meanwhile(order: Order, changes: Recorder) -> None:
    with beside(lambda: Order.objects.filter(status="PENDING").update(status="EXPIRED")) as expired:
        Order.objects.update(status="FULFILLED")
    assert expired.result() == 0
    assert Order.objects.get().status == "FULFILLED"
    assert [(change.action, change.row.status) for change in changes.all] == [("updated", "FULFILLED")]


def test_it_lets_a_customer_join_once_when_two_add_them(
    account: Account, customers: list[Customer], changes: Recorder
) -> None:
    audience = Audience.objects.create(account=account, name="A")
    changes.clear()
    with beside(lambda: audience.customers.add(*customers[:2])):
        audience.customers.add(customers[0])
    assert sorted(change.row.customer.external_id for change in changes.all) == ["c0", "c1"]
    assert Membership.objects.count() == 2


def test_it_tells_of_a_leave_once_when_two_remove_them(
    account: Account, customers: list[Customer], changes: Recorder
) -> None:
    audience = Audience.objects.create(account=account, name="A")
    audience.customers.add(*customers)
    changes.clear()
    with beside(audience.customers.clear):
        audience.customers.remove(customers[0])
    assert sorted(change.row.customer.external_id for change in changes.all) == ["c0", "c1", "c2", "c3", "c4"]


def test_it_leaves_nobody_in_an_audience_deleted_meanwhile(account: Account, customers: list[Customer]) -> None:
    audience = Audience.objects.create(account=account, name="A")
    with ThreadPoolExecutor(1) as pool, pytest.raises(IntegrityError), transaction.atomic():
        Audience.objects.get().customers.add(customers[0])
        pool.submit(_in_own_connection, audience.delete).result(timeout=10)
    assert not Membership.objects.exists() and not Audience.objects.exists()


def test_it_places_lines_added_by_two_at_once(order: Order) -> None:
    with beside(lambda: OrderLine.objects.create(order=order, sku="second", value=1)):
        OrderLine.objects.create(order=order, sku="first", value=1)
    assert [(line.position, line.sku) for line in order.lines.all()] == [(1, "first"), (2, "second")]


def test_an_import_goes_on_after_a_deadlock(account: Account) -> None:
    """Another import, or anybody else, may write the same records in another order."""
    records = [CustomerRecord(number, f"c{number}", {"first_name": "Ana"}) for number in (1, 2)]
    problems: list[tuple[int, str]] = []
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Customer.objects.create(account=account, external_id="c2")
            running = pool.submit(
                _in_own_connection, lambda: apply_records(account, records, lambda *problem: problems.append(problem))
            )
            wait_until(_somebody_waits, "the import to wait")
            Customer.objects.create(account=account, external_id="c1")  # it has waited longer, so it is rolled back
        counts = running.result(timeout=10)
    assert problems == []
    assert counts["customers"]["changed"] == 2
    assert list(Customer.objects.values_list("first_name", flat=True)) == ["Ana", "Ana"]

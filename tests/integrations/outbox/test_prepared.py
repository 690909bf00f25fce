"""A prepared query gives what the queryset that it was made of gives, whatever its values are."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from integrations.outbox.prepared import Prepared
from masivo_braze.loyalty.models import Account

pytestmark = pytest.mark.django_db


@pytest.fixture
def entries(account: Account) -> list[OutboxEntry]:
    """Of two customers; the second waits."""
    common: dict[str, Any] = {"account": account, "integration": "braze", "kind": "event", "data": {"n": [1, None]}}
    later = database_now() + timedelta(hours=1)
    return [
        OutboxEntry.objects.create(**common, customer_external_id="a"),
        OutboxEntry.objects.create(**common, customer_external_id="b", due_at=later),
        OutboxEntry.objects.create(**common, customer_external_id='"{quoted}, \\ %s', status=Status.SKIPPED),
    ]


def of_customers(customers: Any) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(customer_external_id__among=customers).order_by("pk")


def test_it_gives_rows_as_the_queryset_does(entries: list[OutboxEntry]) -> None:
    columns = ("pk", "customer_external_id", "data", "parked", "due_at", "batch")
    query = Prepared(lambda customers: of_customers(customers).values_list(*columns))
    for some in ([], ["a"], ["b", "a", "nobody"], [entry.customer_external_id for entry in entries]):
        assert query.rows(customers=some) == list(of_customers(some).values_list(*columns))


def test_it_takes_times_and_several_values_in_any_order(entries: list[OutboxEntry]) -> None:
    query = Prepared(
        lambda until, status: OutboxEntry.objects.filter(status=status, due_at__lte=until).values_list("pk")
    )
    due = entries[1].due_at
    assert due is not None
    assert query.rows(status="pending", until=due) == [(entries[1].pk,)]
    assert query.rows(status="pending", until=due - timedelta(seconds=1)) == []
    assert query.rows(status="skipped", until=due) == []


def test_it_unites_and_limits(entries: list[OutboxEntry]) -> None:
    query = Prepared(
        lambda one, other: of_customers(one).order_by().values_list("pk").union(
            of_customers(other).order_by().values_list("pk")
        )
    )  # fmt: skip
    assert sorted(query.rows(one=["a"], other=["b"])) == [(entries[0].pk,), (entries[1].pk,)]
    assert Prepared(lambda customers: of_customers(customers).values_list("pk")).rows(1, customers=["a", "b"]) == [
        (entries[0].pk,)
    ]


def test_it_gives_an_instance_or_none(entries: list[OutboxEntry]) -> None:
    query = Prepared(of_customers)
    first = query.first(customers=["b", "a"])
    assert first == entries[0]
    assert first is not None
    assert (first.data, first.created_at) == (entries[0].data, entries[0].created_at)
    assert query.first(customers=["nobody"]) is None
    first.error = "changed"
    first.save()
    assert OutboxEntry.objects.get(pk=first.pk).error == "changed"


def test_it_is_compiled_once(entries: list[OutboxEntry]) -> None:
    built = []

    def build(customers: Any) -> "QuerySet[OutboxEntry, Any]":
        built.append(customers)
        return of_customers(customers).values_list("pk")

    query = Prepared(build)
    with CaptureQueriesContext(connection) as asked:
        assert query.rows(customers=["a"]) != query.rows(customers=["b"])
    assert len(built) == 1
    assert len(asked) == 2

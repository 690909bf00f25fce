"""Rows written in bulk are the rows that Django would have written, on either database."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery
from integrations.outbox import bulk, transitions
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account

pytestmark = pytest.mark.django_db

#: What PostgreSQL's notation of an array gives a meaning to, and what JSON does.
NASTY = ['"', "\\", '\\"', "{}", "{a,b}", "NULL", "null", "", " ", ",", "'", "%s", "\n\t", "é😀", "\\x41", "a" * 900]
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


@pytest.fixture
def account() -> Account:
    return Account.objects.create(name="Shop", slug="shop")


def entry(account: Account, **fields: Any) -> OutboxEntry:
    return OutboxEntry(account=account, integration="braze", kind=Kind.EVENT, customer_external_id="c", **fields)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(customers=st.lists(TEXT, min_size=1, max_size=4), data=st.dictionaries(TEXT, JSON, max_size=4))
def test_it_writes_any_text_and_json_as_it_is(account: Account, customers: list[str], data: dict[str, Any]) -> None:
    OutboxEntry.objects.all().delete()
    written = [entry(account, data=data) for _ in customers]
    for each, customer in zip(written, customers, strict=True):
        each.customer_external_id = customer
    bulk.insert(OutboxEntry, written)
    read = list(OutboxEntry.objects.order_by("pk"))
    assert [each.customer_external_id for each in read] == customers
    assert [each.data for each in read] == [data] * len(customers)
    assert {each.status for each in read} == {Status.PENDING}


def test_it_writes_every_type_of_column(account: Account) -> None:
    now, body = timezone.now(), bytes(range(256))
    request = Delivery(account=account, endpoint="track", created_at=now, manifest={"events": []}, body=body, bytes=256)
    bulk.insert(Delivery, [request])
    read = Delivery.objects.get(pk=request.pk)
    assert (bytes(read.body), read.created_at, read.manifest) == (body, now, {"events": []})
    assert (read.started_at, read.status_code, read.outcome) == (None, None, "")


def test_it_tells_the_keys_that_the_database_gave(account: Account) -> None:
    rows = [
        BrazePurchase(
            account=account, customer_external_id="c", order_id="o", line=number, part=1, purchase_id=f"o:{number}:1",
            product_id="CD", price=Decimal("14.665"), quantity=2, currency="USD", time=datetime(2026, 3, 1, tzinfo=UTC),
        )
        for number in range(3)
    ]  # fmt: skip
    bulk.insert(BrazePurchase, rows, with_keys=True)
    assert {row.pk: row.line for row in BrazePurchase.objects.all()} == {row.pk: row.line for row in rows}
    assert BrazePurchase.objects.get(pk=rows[0].pk).price == Decimal("14.665")


def test_it_overwrites_what_is_there_only_where_it_is_told_to(account: Account) -> None:
    BrazeProfile.objects.create(account=account, external_id="c1", attributes={"a": 1}, is_known=True)
    profiles = [BrazeProfile(account=account, external_id=name, attributes={"b": 2}) for name in ("c1", "c2")]
    bulk.insert(BrazeProfile, profiles, unique=("account", "external_id"), update=("attributes",))
    held = {each.external_id: (each.attributes, each.is_known) for each in BrazeProfile.objects.all()}
    assert held == {"c1": ({"b": 2}, True), "c2": ({"b": 2}, False)}


@pytest.mark.postgres
def test_it_cuts_nothing_silently(account: Account) -> None:
    """A cast to `varchar(32)` would; only SQLite takes what is too long, as ever."""
    with pytest.raises(DataError):
        bulk.insert(OutboxEntry, [entry(account, subject="x" * 65)])


def test_it_writes_more_rows_than_a_statement_of_sqlite_has_room_for(account: Account) -> None:
    bulk.insert(OutboxEntry, [entry(account) for _ in range(2_500)])
    assert OutboxEntry.objects.count() == 2_500


def test_it_writes_nothing_for_nothing() -> None:
    bulk.insert(OutboxEntry, [])
    assert not OutboxEntry.objects.exists()


@pytest.mark.parametrize("values", [NASTY, []])
def test_among_finds_what_in_finds(account: Account, values: list[str]) -> None:
    for value in [*NASTY, "other"]:
        OutboxEntry.objects.create(account=account, integration="braze", kind=Kind.EVENT, customer_external_id=value)
    mine = OutboxEntry.objects.order_by("pk")
    assert list(mine.filter(customer_external_id__among=values)) == list(mine.filter(customer_external_id__in=values))
    keys = [each.pk for each in mine][:3]
    assert list(mine.filter(pk__among=set(keys))) == list(mine.filter(pk__in=keys))


def test_among_finds_uuids(account: Account) -> None:
    made = [Delivery.objects.create(account=account, endpoint="track") for _ in range(3)]
    wanted = [made[0].pk, made[2].pk, uuid.uuid4()]
    assert set(Delivery.objects.filter(pk__among=wanted)) == {made[0], made[2]}


def test_entries_are_buffered_each_for_its_own_request(account: Account) -> None:
    waiting, parked, gone = (OutboxEntry.objects.create(
        account=account, integration="braze", kind=Kind.EVENT, customer_external_id="c", error="waits",
        parked=number == 1, status=Status.SKIPPED if number == 2 else Status.PENDING,
    ) for number in range(3))  # fmt: skip
    requests = {waiting.pk: uuid.uuid4(), parked.pk: uuid.uuid4(), gone.pk: uuid.uuid4()}
    assert transitions.buffer(requests) == 2
    for each in (waiting, parked, gone):
        each.refresh_from_db()
    assert (waiting.status, waiting.batch, waiting.error) == (Status.BUFFERED, requests[waiting.pk], "waits")
    assert (parked.status, parked.batch, parked.error, parked.parked) == ("buffered", requests[parked.pk], "", False)
    assert (gone.status, gone.batch) == (Status.SKIPPED, None)
    assert connection.vendor in ("postgresql", "sqlite")

"""Whatever the database believes of a state's frequency, a relay and a flush look at what they move, and at no more."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import connection, transaction

from integrations.braze.composing import taking
from integrations.braze.composing.taking import Pass
from integrations.braze.delivery import ledger, splitting
from integrations.braze.delivery.ledger import carried
from integrations.braze.erasure import payloads, retention
from integrations.braze.integration import NAME
from integrations.braze.models import BrazePurchase, Delivery, Fate
from integrations.outbox import oldest, sweep, transitions
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

COUNT = 20_000
#: Rows that a node of a plan may go through for each row that it gives.
EACH = 3


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "TAKE", 100)


@pytest.fixture(params=["hardly any is believed to be in it", "nearly all are believed to be in it"])
def believed(request: pytest.FixtureRequest) -> str:
    return request.param


def add(account: Account, status: str, believed: str, counted_as: str) -> None:
    """Rows in one state, of many customers, as a database knows them that counted when they were in another."""
    first = counted_as if believed.startswith("hardly") else status
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_outboxentry (account_id, integration, kind, customer_external_id, subject, data,"
            " adjustments, status, error, worst, parked, created_at)"
            " SELECT %s, 'braze', 'event', 'c-' || n %% 5000, n, '{}', '[]', %s, '', '', false, now()"
            " FROM generate_series(1, %s) n",
            [account.pk, first, COUNT],
        )
        cursor.execute("ANALYZE outbox_outboxentry")
        cursor.execute("UPDATE outbox_outboxentry SET status = %s WHERE status <> %s", [status, status])


def test_each_connection_says_that_a_seek_costs_next_to_nothing() -> None:
    """Where it costs four times as much as the next row, the margin is small, and once in a while it is none."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW random_page_cost")
        assert cursor.fetchone() == ("1.1",)


def take(account: Account) -> list[int]:
    passing = Pass(account.pk)
    passing.take(database_now())
    return [entry.pk for entry in passing.take(database_now())]


def test_a_relay_takes_some_of_a_backlog(account: Account, believed: str) -> None:
    add(account, Status.PENDING, believed, Status.DELIVERED)
    with wasted() as found:
        taken = take(account)
    assert len(taken) >= taking.TAKE
    assert max(found.values()) <= EACH * len(taken), found


def some_ids() -> list[int]:
    """So many that a planner who believes in turning disks would rather go through the table."""
    return list(OutboxEntry.objects.order_by("pk").values_list("pk", flat=True))[:: COUNT // 150]


def buffer(ids: list[int]) -> int:
    return transitions.buffer(dict.fromkeys(ids, uuid4()))


def give_back(ids: list[int]) -> int:
    return carried([{"events": [{"entries": ids}]}]).update(status=Status.PENDING)


def settle(ids: list[int]) -> int:
    request = uuid4()
    OutboxEntry.objects.filter(pk__in=ids).update(batch=request)
    return transitions.settle(ids, [request], database_now())


@pytest.mark.parametrize(
    ("move", "status"), [(buffer, Status.PENDING), (give_back, Status.BUFFERED), (settle, Status.BUFFERED)]
)
def test_entries_are_moved_by_their_ids(
    account: Account, believed: str, move: Callable[[list[int]], int], status: Status
) -> None:
    add(account, status, believed, Status.SKIPPED)
    ids = some_ids()
    with wasted() as found:
        assert move(ids) == len(ids)
    assert found
    assert max(found.values()) <= EACH * len(ids), found


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda account: oldest.first_pending(account.pk, NAME), id="the first"),
        pytest.param(lambda account: oldest.first_pending(account.pk, NAME, parked=False), id="the first not parked"),
        pytest.param(lambda account: sweep.sweep(), id="the sweep"),
    ],
)
def test_what_is_pending_is_found_behind_all_that_is_settled(
    account: Account, believed: str, look: Callable[[Account], Any]
) -> None:
    add(account, Status.DELIVERED, "nearly" if believed.startswith("hardly") else "hardly", Status.PENDING)
    OutboxEntry.objects.create(account=account, integration=NAME, kind="event", customer_external_id="c-1", subject="1")
    with wasted() as found:
        assert look(account)
    assert found
    assert max(found.values()) <= 100, found


def test_what_waits_is_no_candidate(account: Account, believed: str) -> None:
    """Found by the same looks: an entry of a customer who waits is passed over."""
    add(account, Status.PENDING, believed, Status.DELIVERED)
    OutboxEntry.objects.filter(customer_external_id="c-1").update(due_at=database_now() + timedelta(hours=1))
    taken = OutboxEntry.objects.filter(pk__in=[entry.pk for entry in Pass(account.pk).take(database_now())])
    assert taken.exists()
    assert not taken.filter(customer_external_id="c-1").exists()


@pytest.mark.parametrize("clean", [retention.purge, payloads.forget_old])
def test_requests_are_purged_beside_many_changes_to_be_decided_about(
    account: Account, clean: Callable[[], int]
) -> None:
    """With half a million of them, a batch took longer than an hour's purge may: nothing was removed any more."""
    add(account, Status.REJECTED, "nearly", Status.REJECTED)
    OutboxEntry.objects.update(batch=RandomUUID())
    old = database_now() - timedelta(days=31)
    Delivery.objects.bulk_create(Delivery(account=account, finished_at=old, body=b"x") for _ in range(200))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_outboxentry, braze_delivery")
        cursor.execute("SET LOCAL work_mem TO '64kB'")  # as little for these as the default is for millions
    with wasted() as found:
        assert clean() == 200
    assert found
    assert max(found.values()) <= EACH * COUNT, found


def test_changes_are_purged_behind_many_that_wait(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an account that is switched off, for example. Each batch went through all of them anew."""
    monkeypatch.setattr(retention, "BATCH", 100)
    add(account, Status.PENDING, "nearly", Status.PENDING)
    old = database_now() - timedelta(days=31)
    OutboxEntry.objects.bulk_create(
        OutboxEntry(account=account, integration=NAME, status=Status.DELIVERED, settled_at=old) for _ in range(1_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_outboxentry")
        cursor.execute("SET LOCAL enable_sort TO off")  # in the order of ids, as it chooses for larger tables
    with wasted("settled_at") as found:
        assert retention.purge() == 1_000
    assert found
    assert sum(found.values()) <= EACH * COUNT, found


def take_back(request: Delivery) -> None:
    with transaction.atomic():
        ledger.dissolve_unstarted(request.account_id)


def halve(request: Delivery) -> None:
    with transaction.atomic():
        splitting.split(request)


@pytest.mark.parametrize("undo", [take_back, halve])
def test_the_purchases_of_a_request_are_found_among_all_that_were_ever_sent(
    account: Account, undo: Callable[[Delivery], None]
) -> None:
    """They are kept for ever; each request that was taken back or halved went through all of them."""
    request = sold(account, COUNT)
    with wasted("braze_brazepurchase") as found:
        undo(request)
    assert found
    assert max(found.values()) <= 100, found


def sold(account: Account, before: int) -> Delivery:
    """A request of a customer's two purchases, after so many that were delivered."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO braze_brazepurchase (account_id, customer_external_id, order_id, line, part, is_reversal,"
            " purchase_id, product_id, price, quantity, currency, time, properties, fate, error, delivery_id,"
            " created_at)"
            " SELECT %s, 'c', 'o' || n, 1, 1, false, n, 'CD', 1, 1, 'USD', now(), '{}', 'delivered', '',"
            " gen_random_uuid(), now() FROM generate_series(1, %s) n",
            [account.pk, before],
        )
        cursor.execute("ANALYZE braze_brazepurchase")
    ids = list(BrazePurchase.objects.order_by("-pk").values_list("pk", flat=True)[:2])
    lines = [{"customer": "c", "entries": [], "purchase": pk} for pk in ids]
    body = zlib.compress(b'{"purchases": [{}, {}]}')
    request = Delivery.objects.create(account=account, manifest={"purchases": lines}, purchases=2, body=body)
    BrazePurchase.objects.filter(pk__in=ids).update(fate=Fate.BUFFERED, delivery_id=request.pk)
    return request


@contextmanager
def wasted(table: str = "outbox_outboxentry") -> Iterator[dict[str, int]]:
    """By statement, the most rows that a node of its plan read in all, whether it then gave them or not."""
    found: dict[str, int] = {}

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if table in sql and not sql.startswith("INSERT"):
            with transaction.atomic(), connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", params)
                plan = "\n".join(line for (line,) in cursor.fetchall())
                transaction.set_rollback(True)
            found[f"{sql}\n{plan}"] = max(rows_read(plan))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield found


def rows_read(plan: str) -> list[int]:
    read = [0]
    for line in plan.splitlines():
        if node := re.search(r"actual rows=(\d+) loops=(\d+)", line):
            loops = int(node[2])
            read.append(int(node[1]) * loops)
        elif removed := re.search(r"Rows Removed by .*: (\d+)", line):
            read.append(int(removed[1]) * loops)
    return read

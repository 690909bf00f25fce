"""Whoever asks for a customer's changes finds them by an index, in a table of many: each index holds some states."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from integrations.braze.admin import beside
from integrations.braze.console import search, timeline
from integrations.braze.erasure import scrubbing
from integrations.braze.models import BrazeState
from integrations.braze.recovery import resend
from integrations.outbox import capture
from integrations.outbox.models import Kind, Status, Subscription, Topic
from masivo_braze.loyalty.models import Account, Customer

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

EACH = 3_000


@pytest.fixture
def crowd(account: Account) -> Customer:
    """One of as many customers as there are entries in each state."""
    BrazeState.objects.create(account=account)
    states = ", ".join(f"('{status.value}')" for status in Status)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_outboxentry (account_id, integration, kind, customer_external_id, subject, data,"
            " adjustments, status, error, worst, parked, created_at)"
            " SELECT %s, 'braze', 'event', 'c-' || n, n, '{}', '[]', state, '', '', false, now()"
            f" FROM generate_series(1, %s) n CROSS JOIN (VALUES {states}) AS states(state)",
            [account.pk, EACH],
        )
        cursor.execute("ANALYZE outbox_outboxentry")
    return Customer.objects.create(account=account, external_id="c-7")


def captured_deletion(customer: Customer) -> None:
    Subscription.objects.create(account=customer.account, integration="braze", topic=Topic.CUSTOMER_DELETED)
    capture.record(
        [capture.Change(customer.account_id, Kind.CUSTOMER_DELETED, customer.external_id, (Topic.CUSTOMER_DELETED,))]
    )


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda customer: timeline.of(search.customer(customer.account, "c-7")), id="timeline"),
        pytest.param(lambda customer: search.search("c-8", [customer.account]), id="search"),
        pytest.param(lambda customer: beside.states([customer]), id="beside a record"),
        pytest.param(resend._captured, id="resend"),
        pytest.param(scrubbing.note_deletion, id="note a deletion"),
        pytest.param(lambda customer: list(scrubbing._next()), id="what waits of a deleted customer"),
        pytest.param(captured_deletion, id="capture a deletion"),
    ],
)
def test_a_customers_changes_are_found_by_indexes(crowd: Customer, ask: Callable[[Customer], Any]) -> None:
    with plans() as seen:
        ask(crowd)
    assert seen
    for statement, plan in seen:
        looked_at = re.findall(r"(?:Index Cond|Recheck Cond): \(.*customer_external_id.*", plan)
        assert "Seq Scan on outbox_outboxentry" not in plan, f"{statement}\n{plan}"
        assert looked_at, f"{statement}\n{plan}"


@contextmanager
def plans() -> Iterator[list[tuple[str, str]]]:
    """How the database goes about each statement that looks for changes by their customer."""
    seen: list[tuple[str, str]] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "outbox_outboxentry" in sql and re.search(r"WHERE.*customer_external_id", sql, re.DOTALL):
            with transaction.atomic(), connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", params)
                seen.append((sql, "\n".join(line for (line,) in cursor.fetchall())))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield seen

"""Asking for what is pending takes the index of what is pending, whatever the database's statistics have last seen."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.braze import relay, tasks
from integrations.braze.models import BrazeSettings
from integrations.outbox import sweep
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer

pytestmark = pytest.mark.postgres

BACKLOG = 20_000


@pytest.fixture
def late(account: Account, braze: BrazeSettings) -> Account:
    """A backlog that is nearly done: to the database's statistics, everything is pending still."""
    entries = (
        OutboxEntry(account=account, integration="braze", kind="event", customer_external_id=f"c{number}")
        for number in range(BACKLOG)
    )
    OutboxEntry.objects.bulk_create(entries, batch_size=5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_outboxentry")
    OutboxEntry.objects.update(status="delivered", settled_at=database_now())
    Customer.objects.create(account=account, external_id="c1")
    return account


def _relay(account: Account) -> None:
    """The pass, and the look whether there is more."""
    tasks.relay(account.pk)


@pytest.mark.parametrize("ask", [lambda _: sweep.sweep(), _relay], ids=["sweep", "relay"])
def test_it_takes_the_index(late: Account, ask: Callable[[Account], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_push", lambda *_: None)
    with CaptureQueriesContext(connection) as asked:
        ask(late)
    questions = {query["sql"] for query in asked if _asks_for_pending(query["sql"])}
    assert questions
    for question in questions:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {question}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan on outbox_outboxentry" not in plan, plan
        assert "outbox_outboxentry_pkey" not in plan, plan


def _asks_for_pending(statement: str) -> bool:
    """Of an account or of all, not of entries that it names."""
    is_read = statement.startswith("SELECT") and "pending" in statement and " FOR UPDATE" not in statement
    return is_read and "outbox_outboxentry" in statement and "ANY(" not in statement

"""A worker's connections to the database outlast its tasks, and a database that restarts."""

import psycopg
import pytest

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.shop import Shop

pytestmark = [pytest.mark.e2e, pytest.mark.postgres]

OTHERS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid()"
)


def test_a_worker_keeps_its_connections_from_task_to_task_until_they_break(
    stack: Stack, shop: Shop, database_url: str
) -> None:
    def ask(what: str) -> set[int]:
        with psycopg.connect(database_url, autocommit=True) as own:
            return {value for (value,) in own.execute(f"SELECT {what} {OTHERS}")}

    stack.start(*WORKERS)
    deliver(stack, shop, "first")
    kept = ask("pid")
    deliver(stack, shop, "second")
    assert len(kept) >= 2  # a relay's and the flush's
    assert kept <= ask("pid")
    assert ask("pg_terminate_backend(pid)") == {True}
    wait_until(lambda: not kept & ask("pid"), "the end of these connections")
    deliver(stack, shop, "third")


def deliver(stack: Stack, shop: Shop, prefix: str) -> None:
    """One task after the other."""
    before = stack.sandbox.summary()["profiles"]
    for number in (1, 2, 3):
        shop.save_customers(1, f"{prefix}{number}-")
        expected = before + number
        wait_until(lambda expected=expected: stack.sandbox.summary()["profiles"] == expected, "the customer")

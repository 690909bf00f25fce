"""The running product for a test: in a directory and a database of its own, gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.stack import Stack
from tests.e2e.harness.database import fresh_database
from tests.e2e.shop import Shop


@pytest.fixture
def database_url() -> Iterator[str | None]:
    """A fresh database on the server the session runs on; None: a SQLite file of the stack's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture
def stack(tmp_path: Path, database_url: str | None) -> Iterator[Stack]:
    """Redis and the sandbox up, the database migrated; workers are started by the test."""
    with Stack(tmp_path, database_url) as stack:
        stack.manage("migrate", "--verbosity", "0")
        yield stack
        stack.stop_all()
        print(stack.logs(lines=40))  # shown where the test has failed


@pytest.fixture
def shop(stack: Stack) -> Iterator[Shop]:
    """A process that saves loyalty records, as a web process would; its account syncs everything.

    Whatever a test did to the rest, the account's books balance in the end.
    """
    with Shop(stack) as shop:
        yield shop
        assert shop.accounting() == []

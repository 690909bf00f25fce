"""The running product for a test: in a directory and a database of its own, gone afterwards."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dev.stack import Stack
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
    """A process that saves loyalty records, as a web process would; its account syncs everything."""
    with Shop(stack) as shop:
        yield shop


@contextmanager
def fresh_database() -> Iterator[str | None]:
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield None
        return
    name = f"stack_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server.rpartition('/')[0]}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

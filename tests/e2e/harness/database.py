"""The stack's database seen from outside: what faults look at, and a fresh one for each seed."""

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg


def is_postgres(url: str) -> bool:
    return url.startswith("postgres")


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    if is_postgres(url):
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query).fetchall()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)) as connection:
        return connection.execute(query).fetchall()


@contextmanager
def fresh_database() -> Iterator[str | None]:
    """A database on the server that DATABASE_URL names; None where it names none: a SQLite file of the stack's own.

    Its connections are short, since a fault may end them. Commits are flushed: the server crashes, the machine not.
    """
    server = os.environ.get("DATABASE_URL", "")
    if not is_postgres(server):
        yield None
        return
    name = f"stack_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP DATABASE IF EXISTS {name}_backup WITH (FORCE)")


def back_up(url: str) -> None:
    """Keep a copy of all that is there now; connections are ended for it."""
    name = url.rpartition("/")[2]
    _replace(url, f"{name}_backup", by=name)


def restore(url: str) -> None:
    """Put the copy in the database's place, with whoever is connected: what was committed since is gone."""
    name = url.rpartition("/")[2]
    _replace(url, name, by=f"{name}_backup")


def _replace(url: str, name: str, by: str) -> None:
    server = f"{url.rpartition('/')[0]}/postgres"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {by} ALLOW_CONNECTIONS false")  # else they would be back before the copy is
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [by])
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {by}")
        connection.execute(f"ALTER DATABASE {by} ALLOW_CONNECTIONS true")

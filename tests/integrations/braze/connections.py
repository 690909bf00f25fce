"""What works on another connection to the database, at the same time."""

from collections.abc import Callable
from threading import Thread

from django.db import connection

from integrations.braze.delivery import flush


def beside(function: Callable[[], object]) -> Thread:
    """Run it on another connection; where it has to wait for our locks, it goes on after our commit."""
    thread = started(function)
    thread.join(2)
    return thread


def waiting() -> int:
    """How many connections wait for a lock in this database. (What one waits for names none; what it has does.)"""
    here = "SELECT pid FROM pg_locks JOIN pg_database ON oid = database WHERE datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND pid IN ({here})")
        return int(cursor.fetchone()[0])


def started(function: Callable[[], object]) -> Thread:
    """It runs on another connection."""

    def run() -> None:
        try:
            function()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    return thread


def flush_and_close(account_id: int) -> int:
    """For a thread of its own, whose connection nobody else closes."""
    try:
        return flush.flush(account_id)
    finally:
        connection.close()

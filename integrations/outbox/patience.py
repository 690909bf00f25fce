"""Lifts a time limit of statements that the database's role may have, for work that nobody waits for.

A purge goes through all that has to stay before it finds what may go. Where that took longer than the limit, each purge
failed at the same place, and nothing was removed any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection

from integrations.outbox.failover import AWAY


@contextmanager
def no_time_limit() -> Iterator[None]:
    """For the thread's connection; also as a decorator. A connection that is made meanwhile has the limit again."""
    if connection.vendor != "postgresql":
        yield
        return
    _execute("SET statement_timeout TO 0")
    try:
        yield
    finally:
        with suppress(*AWAY):
            _execute("RESET statement_timeout")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)

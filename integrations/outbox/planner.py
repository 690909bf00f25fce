"""What PostgreSQL's planner is told of each connection.

By its default, a page that an index leads to costs four times as much as the next page of a table, as on a spinning
disk. For the thousands of entries that a statement names by their ids, that is about the price of a table of a million
rows: once in a while it went through that instead, and an entry took 300 µs where the index takes 22. On an SSD, or in
memory, a seek costs next to nothing.
"""

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

RANDOM_PAGE_COST = 1.1


def connect() -> None:
    connection_created.connect(tell, dispatch_uid="outbox.planner")


def tell(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET random_page_cost TO {RANDOM_PAGE_COST}")

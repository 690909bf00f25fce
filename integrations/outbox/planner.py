"""Sets PostgreSQL's planner up on each connection.

By default, a page reached through an index is taken to cost four times as much as the next page of a table, as on a
spinning disk. For the thousands of entries that a statement names by their ids, that comes to about the cost of
scanning a table of a million rows: now and then that scan was chosen, and an entry took 300 µs instead of 22. On an
SSD, or in memory, a seek costs next to nothing.
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

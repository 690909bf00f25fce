"""Gives up a connection to a PostgreSQL that has become a standby, and lets PostgreSQL give up a vanished client.

After a failover, the address leads to another server, but the old one may live on, read-only. It answers every question
as before, so nothing else would tell that the connection is of no more use.

A machine that is cut off in the middle of a transaction closes no connection. By Linux' defaults, PostgreSQL would keep
the transaction's locks for two hours, and its account would stand still.
"""

from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, InternalError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

#: What is raised while the database is away; the last one, by a standby, or where the server ended the transaction.
AWAY = (OperationalError, InterfaceError, InternalError)
#: PostgreSQL's SQLSTATE for a write in a read-only transaction.
READ_ONLY = "25006"
#: PostgreSQL's own side of the connection: half a minute without a sign of life (`settings.base` has ours).
GIVEN_UP_IN_TIME = {
    "tcp_keepalives_idle": 15,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def connect() -> None:
    connection_created.connect(watch, dispatch_uid="outbox.failover")


def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """The wrapper goes beneath all others, whose context managers remove the topmost one."""
    if connection.vendor != "postgresql":
        return
    if _outdated not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _outdated)
    with connection.cursor() as cursor:
        cursor.execute("; ".join(f"SET {name} TO {value}" for name, value in GIVEN_UP_IN_TIME.items()))


def _outdated(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A statement; one that was refused as a write makes the connection too old, for `close_old_connections`."""
    try:
        return execute(sql, params, many, context)
    except InternalError as error:
        if getattr(error.__cause__, "sqlstate", None) == READ_ONLY:
            context["connection"].close_at = 0
        raise

"""Gives up a connection to a PostgreSQL that has become a standby.

After a failover, the address leads to another server, but the old one may live on, read-only. It answers every question
as before, so nothing else would tell that the connection is of no more use.
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


def connect() -> None:
    connection_created.connect(watch, dispatch_uid="outbox.failover")


def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Beneath all other wrappers, whose context managers remove the topmost one."""
    if connection.vendor == "postgresql" and _outdated not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _outdated)


def _outdated(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A statement; one that was refused as a write makes the connection too old, for `close_old_connections`."""
    try:
        return execute(sql, params, many, context)
    except InternalError as error:
        if getattr(error.__cause__, "sqlstate", None) == READ_ONLY:
            context["connection"].close_at = 0
        raise

"""Checks what the database's role, and what may be in front of the database, do to connections.

Part of `migrate`, so that each deployment shows it, and of `check --database default`.
"""

from collections.abc import Collection
from contextlib import closing
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from integrations.outbox.planner import RANDOM_PAGE_COST

#: Limits that are shorter, in ms, end what may well take its time: an import, a new workspace, a large decision.
SHORTEST_MS = 60_000
LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
_TOO_SHORT = (
    "SELECT name || ' ' || setting || ' ms' FROM pg_settings WHERE name = ANY(%s) AND setting::bigint BETWEEN 1 AND %s"
)
LIFTED = "Lift it for this product's processes, by PGOPTIONS='-c {name}=0' in their environment."
POOLED = (
    "Use a pool per session, or add ?disable_server_side_cursors=true to DATABASE_URL, and say"
    f" ALTER ROLE … SET random_page_cost TO {RANDOM_PAGE_COST}: reports, exports and braze_restored fail otherwise,"
    " and backlogs are slow."
)


def connect() -> None:
    register(database_leaves_connections_alone, Tags.database)


def database_leaves_connections_alone(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    return [message for alias in databases or () for message in _of(alias)]


def _of(alias: str) -> list[CheckMessage]:
    if connections[alias].vendor != "postgresql":
        return []
    with closing(connections[alias].copy()) as first, closing(connections[alias].copy()) as second:
        found: list[CheckMessage] = [
            Warning(
                f"The database ends what takes long: {limit}.",
                hint=LIFTED.format(name=limit.split()[0]),
                id="outbox.W001",
            )
            for limit in _too_short(first)
        ]
        if _change_servers(first, second) and not _is_prepared(first):
            found.append(Warning("A pooler gives each transaction another connection.", hint=POOLED, id="outbox.W002"))
    return found


def _too_short(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_TOO_SHORT, [list(LIMITS), SHORTEST_MS - 1])
        return [limit for (limit,) in cursor.fetchall()]


def _change_servers(first: BaseDatabaseWrapper, second: BaseDatabaseWrapper) -> bool:
    """Whether the first connection forgets a setting while the second one has a transaction open.

    A pool per transaction has given the server that was set to the second by then.
    """
    with first.cursor() as cursor:
        cursor.execute("SELECT set_config('outbox.session', 'first', false)")
    second.set_autocommit(False)
    with second.cursor() as other, first.cursor() as cursor:
        other.execute("SELECT 1")
        cursor.execute("SELECT current_setting('outbox.session', true)")
        return bool(cursor.fetchone()[0] != "first")


def _is_prepared(connection: BaseDatabaseWrapper) -> bool:
    """Whether nothing depends on a setting, or a cursor, of the session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reset_val::float FROM pg_settings WHERE name = 'random_page_cost'")
        is_cheap = cursor.fetchone()[0] <= RANDOM_PAGE_COST
    return is_cheap and bool(connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"])

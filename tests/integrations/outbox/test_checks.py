"""A deployment shows what the database, or a pooler in front of it, does to connections."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage, Tags, run_checks
from django.db import connection
from django.db.backends.signals import connection_created

from dev.waiting import wait_until

pytestmark = pytest.mark.django_db


def found() -> list[CheckMessage]:
    messages = run_checks(tags=[Tags.database], databases=["default"])
    return [message for message in messages if str(message.id).startswith("outbox.")]


def connect_with(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    for name, value in settings.items():
        monkeypatch.setitem(connection.settings_dict, name, value)


@pytest.fixture
def pooled() -> Iterator[None]:
    """A pool per transaction: what asks for a session's setting has got another connection since."""

    def forget(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT current_setting("):
            execute("SELECT set_config('outbox.session', '', false)", None, *rest[1:])
        return execute(sql, *rest)

    def forgets(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(forget)

    connection_created.connect(forgets)
    yield
    connection_created.disconnect(forgets)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert found() == []


@pytest.mark.postgres
@pytest.mark.parametrize(
    "limit, ids",
    [
        ("statement_timeout=59999", ["outbox.W001"]),
        ("idle_in_transaction_session_timeout=1s", ["outbox.W001"]),
        ("statement_timeout=60000", []),
        ("statement_timeout=0", []),
    ],
)
def test_a_short_time_limit_is_named(limit: str, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever set it for the role may not know what it ends."""
    connect_with(monkeypatch, OPTIONS={**connection.settings_dict["OPTIONS"], "options": f"-c {limit}"})
    messages = found()
    assert [message.id for message in messages] == ids
    for message in messages:
        assert limit.partition("=")[0] in message.msg
        assert limit.partition("=")[0] in str(message.hint)


@pytest.mark.postgres
@pytest.mark.usefixtures("pooled")
@pytest.mark.parametrize(
    "cost, cursors, ids",
    [("4", False, ["outbox.W002"]), ("4", True, ["outbox.W002"]), ("1.1", False, ["outbox.W002"]), ("1.1", True, [])],
)
def test_a_pool_per_transaction_is_named_unless_it_was_prepared_for(
    cost: str, cursors: bool, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cursors were gone when they were read on, and the planner's setting held for some transactions only."""
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c random_page_cost={cost}"}
    connect_with(monkeypatch, OPTIONS=options, DISABLE_SERVER_SIDE_CURSORS=cursors)
    assert [message.id for message in found()] == ids


@pytest.mark.postgres
def test_no_connection_is_left_behind() -> None:
    before = others()
    found()
    wait_until(lambda: others() <= before, "the end of the connections")


def others() -> set[int]:
    """Of this database's other connections, the processes of the server."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return {pid for (pid,) in cursor.fetchall()}

"""A time limit of the database's role ends no work that is done in the background, which would then never be done."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import OperationalError, connection

from integrations.braze import tasks
from integrations.braze.erasure import payloads, retention
from integrations.outbox import sweep
from integrations.outbox.clock import moment_of
from integrations.outbox.patience import no_time_limit
from integrations.outbox.tasks import sweep as sweep_task

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the role had the limit."""
    options = {**connection.settings_dict["OPTIONS"], "options": "-c statement_timeout=100"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    connection.close()
    yield
    connection.close()


def take_long(*_: Any) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now() FROM pg_sleep(0.3)")
        return moment_of(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "task, work",
    [
        (tasks.purge, (retention, "purge")),
        (tasks.purge, (payloads, "forget_old")),
        (sweep_task, (sweep, "database_now")),
    ],
)
def test_what_works_in_the_background_may_take_its_time(
    task: Callable[[], None], work: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*work, take_long)
    task()
    with pytest.raises(OperationalError, match="statement timeout"):
        take_long()  # the limit holds again


def test_a_connection_that_breaks_meanwhile_says_so_itself() -> None:
    with (
        pytest.raises(OperationalError, match="terminating connection"),
        no_time_limit(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

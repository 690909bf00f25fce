"""PostgreSQL goes away, and another server takes its place: on PostgreSQL, which is where that happens."""

import os
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import InternalError, close_old_connections, connection

from integrations.outbox import lease
from masivo_braze.loyalty.models import Account

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


#: After half a minute without a sign of life; the last one in ms, on Linux only.
KEPT_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}


@pytest.fixture
def read_only() -> Iterator[None]:
    """The server of this connection is a standby by now, as after a failover: a new connection leads to another."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only TO on")
    yield
    connection.close()


@pytest.mark.usefixtures("read_only")
def test_a_connection_that_has_become_read_only_is_given_up() -> None:
    """It answers all questions, so it was kept for ten minutes, and every write failed."""
    with pytest.raises(InternalError, match="read-only"):
        Account.objects.create(name="Shop", slug="shop")
    close_old_connections()
    Account.objects.create(name="Shop", slug="shop")


def test_a_connection_that_can_write_is_kept_whatever_else_fails() -> None:
    connection.ensure_connection()
    before = connection.connection.info.backend_pid
    with connection.cursor() as cursor, pytest.raises(InternalError):
        cursor.execute("DO $$ BEGIN RAISE SQLSTATE '25000'; END $$")
    close_old_connections()
    connection.ensure_connection()
    assert connection.connection.info.backend_pid == before


def test_a_lease_is_released_on_the_server_that_takes_over() -> None:
    """Its account would have to wait for it to run out."""
    account = Account.objects.create(name="Shop", slug="shop")
    with lease.hold(account.pk, "braze", timedelta(seconds=60)), connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only TO on")
    with lease.hold(account.pk, "braze", timedelta(seconds=60)) as held:
        assert held


def test_postgresql_gives_up_a_client_that_vanished() -> None:
    """Else the locks of a machine that is cut off in a transaction would last for two hours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp%'")
        found = dict(cursor.fetchall())
    assert found == {
        "tcp_keepalives_idle": "15",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }


def test_we_give_up_a_postgresql_that_vanished() -> None:
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as ours:
        found = {name: ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEPT_ALIVE}
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert found == KEPT_ALIVE

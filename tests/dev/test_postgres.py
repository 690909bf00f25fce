"""The temporary PostgreSQL of `make test-all`."""

import psycopg
import pytest

from dev.postgres import temporary_cluster

pytestmark = pytest.mark.postgres


def test_it_is_up_inside_the_block_and_gone_after() -> None:
    with temporary_cluster() as url:
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT current_setting('server_encoding')").fetchone()
        assert row == ("UTF8",)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)

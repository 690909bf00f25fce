"""A backlog of millions within seconds: written by the database itself, which has to be PostgreSQL."""

from django.db import connection


def add_events(account_id: int, count: int) -> None:
    """Events of the account's customers in turn, pending as capture writes them: one statement, one moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH someone AS (SELECT id, row_number() OVER () - 1 AS place FROM loyalty_customer"
            " WHERE account_id = %s),"
            " made AS (INSERT INTO loyalty_event (id, account_id, customer_id, type, occurred_at, data)"
            ' SELECT gen_random_uuid(), %s, someone.id, \'SEEN\', now(), \'{"page": {"n": 1, "title": "x"}}\''
            " FROM generate_series(1, %s) n JOIN someone ON someone.place = n %% (SELECT count(*) FROM someone)"
            " RETURNING id, customer_id)"
            " INSERT INTO outbox_outboxentry (account_id, integration, kind, customer_external_id, subject, data,"
            " adjustments, status, error, worst, parked, created_at)"
            " SELECT %s, 'braze', 'event', c.external_id, made.id, '{}', '[]', 'pending', '', '', false, now()"
            " FROM made JOIN loyalty_customer c ON c.id = made.customer_id",
            [account_id, account_id, count, account_id],
        )

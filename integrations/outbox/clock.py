"""The database's clock: the one that all processes share, whatever their machines' clocks say."""

from datetime import UTC, datetime, timedelta

from django.db import connection

#: The same within a statement, as SQL that is given parameters.
NOW = {"postgresql": "clock_timestamp()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')"}


def now_and(later: timedelta) -> tuple[str, str]:
    """The same, now and so much later: nobody has to ask for the time before a statement that depends on it."""
    now, seconds = NOW[connection.vendor], later.total_seconds()
    if connection.vendor == "postgresql":
        return now, f"{now} + interval '{seconds} seconds'"
    return now, now.replace("'now'", f"'now', '{seconds:+} seconds'")


def moment_of(value: datetime | str) -> datetime:
    """What a statement gives as the database's time: SQLite gives text."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value.astimezone(UTC)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NOW[connection.vendor]}", ())
        return moment_of(cursor.fetchone()[0])

"""The database's clock, which all processes share, whatever their machines' clocks say."""

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Q

#: Clocks are set right by less than this all the time; by more, what was dated before tells nothing about durations.
CLOCKS_DIFFER = timedelta(minutes=1)
#: The current time as SQL, for statements that take parameters (so `%` is doubled).
NOW = {"postgresql": "clock_timestamp()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'now')"}


def latest(now: datetime, ahead: timedelta = timedelta(0)) -> datetime:
    """The latest that anything can be dated at `now`, if it is dated that far `ahead`.

    What is dated later was dated before the clock was set back, and nothing else is known of when that was.
    """
    return now + ahead + CLOCKS_DIFFER


def is_over(field: str, wait: timedelta, now: datetime) -> Q:
    """Whether more than `wait` has passed since the moment in `field`, or the clock was set back since."""
    return Q(**{f"{field}__lt": now - wait}) | Q(**{f"{field}__gt": latest(now)})


def now_and(later: timedelta) -> tuple[str, str]:
    """SQL for the current time, and for `later` after it, so that a statement needs no query for the time before it."""
    now, seconds = NOW[connection.vendor], later.total_seconds()
    if connection.vendor == "postgresql":
        return now, f"{now} + interval '{seconds} seconds'"
    return now, now.replace("'now'", f"'now', '{seconds:+} seconds'")


def moment_of(value: datetime | str) -> datetime:
    """A time as a statement returned it, in UTC: SQLite returns text."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value.astimezone(UTC)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {NOW[connection.vendor]}", ())
        return moment_of(cursor.fetchone()[0])

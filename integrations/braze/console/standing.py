"""The states of accounts in words, from their settings, traffic, backlogs and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from integrations.braze.console import ages, rates
from integrations.braze.console.rates import Pace
from integrations.braze.delivery import connection, limiter, readiness
from integrations.braze.delivery.limiter import Limit
from integrations.braze.delivery.readiness import Readiness
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeSettings, BrazeState, Endpoint
from integrations.braze.models.account import PauseKind
from integrations.braze.reporting import open_requests
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account

#: Changes and requests that have waited for less than this are no backlog.
SOON = timedelta(seconds=5)
#: If some have waited for longer than this and nothing was accepted meanwhile, the account stands still.
LONG = timedelta(seconds=30)
#: Tones, which a page may show as colours.
GOOD, BUSY, BAD, OFF = "good", "busy", "bad", "off"


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's state in words, with its numbers. `tone` is for a colour, and adds nothing to the words."""

    account: Account
    words: str
    tone: str
    waiting: int = 0
    on_the_way: int = 0
    rejected: int = 0
    unknown: int = 0
    last: datetime | None = None

    @property
    def failed(self) -> int:
        return self.rejected + self.unknown


@dataclass(frozen=True, slots=True)
class Since:
    """When the oldest change that nothing holds back was captured, and when the oldest late request was composed."""

    change: datetime | None
    request: datetime | None
    is_in_flight: bool

    @property
    def oldest(self) -> datetime | None:
        return min(filter(None, (self.change, self.request)), default=None)

    def is_late(self, now: datetime) -> bool:
        return self.oldest is not None and now - self.oldest >= SOON


@dataclass(frozen=True, slots=True)
class Facts:
    """What an account's state depends on, apart from its numbers.

    `spacing` is how far apart the rate limit keeps requests; until `used_up_until` the hourly limit lets none pass.
    Both are looked up only if something waits, and so is why Redis cannot be used ("" if it can).
    """

    account: Account
    ready: Readiness
    state: BrazeState | None
    pace: Pace
    since: Since
    spacing: timedelta = timedelta(0)
    used_up_until: datetime | None = None
    redis: str = ""


def facts(accounts: Sequence[Account], now: datetime) -> list[Facts]:
    """For all accounts in as many queries as for one."""
    ids = [account.pk for account in accounts]
    settings = BrazeSettings.objects.in_bulk(ids, field_name="account_id")
    states = BrazeState.objects.in_bulk(ids, field_name="account_id")
    paces, sinces = rates.pace(ids, now), _sinces(ids, now)
    found = [
        Facts(
            account=account,
            ready=readiness.judge(settings.get(account.pk), states.get(account.pk), now),
            state=states.get(account.pk),
            pace=paces.get(account.pk, Pace()),
            since=sinces[account.pk],
        )
        for account in accounts
    ]
    return _with_limits(found, now)


def in_words(one: Facts, counts: Mapping[str, int], now: datetime) -> tuple[str, str]:
    """The tone and the words; `counts`, changes by status, only matters for the words."""
    return _moving(one, counts, now) if one.ready.is_ready else _held(one.ready, one.state)


def clock_hour(now: datetime) -> datetime:
    """When the current clock hour began, in UTC, by which Braze counts."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _with_limits(found: Sequence[Facts], now: datetime) -> list[Facts]:
    late = {
        one.account.pk: one.ready.settings
        for one in found
        if one.ready.settings and one.ready.is_ready and one.since.is_late(now)
    }
    limits = limiter.limits_of(late.values(), Endpoint.TRACK) if late else {}
    hour = clock_hour(now)
    capped = [settings for pk, settings in late.items() if limits[pk].per_hour is not None]
    calls = rates.calls_with_keys(capped, hour) if capped else {}
    redis = connection.trouble() if late else ""
    found = [_with_limit(one, limits.get(one.account.pk), calls.get(one.account.pk, 0), hour) for one in found]
    return [replace(one, redis=redis) for one in found] if redis else found


def _with_limit(one: Facts, limit: Limit | None, calls: int, hour: datetime) -> Facts:
    """`calls` are those of this clock hour; if the hourly limit is used up, it is until the hour ends."""
    if limit is None:
        return one
    is_used_up = limit.per_hour is not None and calls >= limit.per_hour
    until = hour + timedelta(hours=1) if is_used_up else None
    return replace(one, spacing=timedelta(microseconds=limit.spacing_us), used_up_until=until)


def _sinces(account_ids: Sequence[int], now: datetime) -> dict[int, Since]:
    changes, requests = _oldest_changes(account_ids, now), open_requests.oldest(now, account_ids)
    in_flight = open_requests.in_flight(account_ids)
    return {pk: Since(changes.get(pk), requests.get(pk), pk in in_flight) for pk in account_ids}


def _oldest_changes(account_ids: Sequence[int], now: datetime) -> dict[int, datetime]:
    """By account, when the oldest change that no rule holds back was captured: found first in `outbox_pending`."""
    free = OutboxEntry.objects.filter(account_id=OuterRef("pk"), status=Status.PENDING, pk__gte=0, parked=False)
    mine = free.filter(integration__range=(NAME, NAME)).exclude(due_at__gt=now).order_by("integration", "pk")
    accounts = Account.objects.filter(pk__in=account_ids).order_by().values_list("pk")
    return {pk: since for pk, since in accounts.annotate(since=Subquery(mine.values("created_at")[:1])) if since}


# --- words ----------------------------------------------------------------------------------------------


def _held(ready: Readiness, state: BrazeState | None) -> tuple[str, str]:
    if ready.settings is None:
        return OFF, "not set up yet"
    if ready.state == "disabled":
        return OFF, "switched off: nothing is captured or sent"
    if ready.state == "incomplete":
        return BAD, f"cannot send: {ready.detail} Changes are captured and wait."
    if state is None or ready.state == "backing off":
        until = _clock(state.backoff_until if state else None)
        return BUSY, f"backing off until {until}: {ready.detail or 'Braze asked to wait'}"
    if not state.paused_at:
        return BAD, f"{readiness.held_in_words(state)}, on {_moment(state.held_at)}"
    also = f" (also {readiness.held_in_words(state)})" if state.held_at else ""
    if state.pause_kind == PauseKind.RESTORED:
        return BAD, f"paused on {_moment(state.paused_at)}: this database was restored from a backup{also}"
    return BAD, f"paused{also}: Braze refused on {_moment(state.paused_at)}: {ready.detail}"


def _moving(one: Facts, counts: Mapping[str, int], now: datetime) -> tuple[str, str]:
    """For an account that may send: whether it does."""
    since, pace, patience = one.since.oldest, one.pace, LONG + one.spacing
    if (since or one.since.is_in_flight) and one.state and _is_probed(one, one.state, now - patience):
        return BUSY, f"trying again, one request at a time: the last one failed: {one.state.last_error}"
    if since is None or not one.since.is_late(now):
        return GOOD, "healthy"
    late = _late(one.since, counts, now)
    amount, number = ", ".join(f"{_number(count)} {words}" for words, count in late.items()), sum(late.values())
    if one.used_up_until:
        return BUSY, f"the hourly limit is used up until {one.used_up_until:%H:%M} (UTC): {amount}"
    if pace.per_second:
        return BUSY, f"catching up: {amount}, about {_duration(number / pace.per_second)}"
    if now - since < patience or (pace.last and now - pace.last < patience):
        return BUSY, f"catching up: {amount}"
    why = f"Redis cannot be used ({one.redis})." if one.redis else "Are the workers running?"
    return BAD, f"standing still: {amount}, the oldest since {_moment(since)}. {why}"


def _is_probed(one: Facts, state: BrazeState, before: datetime) -> bool:
    """Whether the account is on probation and still being tried.

    Not if its backoff ended before `before` and nothing is in flight.
    """
    is_left = state.backoff_until and state.backoff_until < before and not one.since.is_in_flight
    is_late = one.since.oldest and one.since.oldest < before
    return bool(one.ready.on_probation and state.last_error and not one.used_up_until and not (is_left and is_late))


def _late(since: Since, counts: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Numbers of waiting changes and of changes on the way, each only if its oldest is late."""
    kinds = (("waiting", Status.PENDING, since.change), ("on the way", Status.BUFFERED, since.request))
    return {words: counts.get(status, 0) for words, status, oldest in kinds if oldest and now - oldest >= SOON}


def _number(count: int) -> str:
    return f"more than {count:,}" if count >= ages.MOST else f"{count:,}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def _moment(time: datetime | None) -> str:
    return f"{timezone.localtime(time):%Y-%m-%d %H:%M:%S}" if time else "–"


def _clock(time: datetime | None) -> str:
    return f"{timezone.localtime(time):%H:%M:%S}" if time else "–"

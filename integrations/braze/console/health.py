"""How an account's sync stands, in words and numbers."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import quantiles

from django.core.cache import cache
from django.db.models import Count, QuerySet
from django.utils import timezone

from integrations.braze.console import ages, rates, sent
from integrations.braze.console.rates import ARRIVED, Pace
from integrations.braze.delivery import readiness
from integrations.braze.delivery.readiness import Readiness
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account

#: Changes that wait for less than this are no backlog.
SOON = timedelta(seconds=5)
#: With changes that wait for longer than this, and none sent, something stands still.
LONG = timedelta(seconds=30)
#: The newest accepted requests whose changes tell the delay, and changes of them that are looked at.
NEWEST, SAMPLE = 10, 2_000
#: Counts of a whole day may be as old as this.
DAY_CACHE_SECONDS = 15
#: Of all accounts' changes of a day, the newest that an account's are looked for among.
DAYS_NEWEST = 200_000
#: What a page may show in colour.
GOOD, BUSY, BAD, OFF = "good", "busy", "bad", "off"


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's state in words. `tone` is for its colour, and says nothing that the words do not."""

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
class Delay:
    """Seconds from a change's commit to Braze's answer, of the changes delivered last."""

    half: float
    most: float
    of: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests of the last minute beside what the limit allows in one; `others` are of accounts with the same key."""

    mine: int
    others: int
    allowed: int

    @property
    def percent(self) -> float:
        return 100 * (self.mine + self.others) / self.allowed


@dataclass(frozen=True, slots=True)
class Health:
    standing: Standing
    settings: BrazeSettings | None
    state: BrazeState | None
    by_rule: int = 0
    today: dict[str, int] = field(default_factory=dict)
    today_is_cut: bool = False
    delay: Delay | None = None
    budget: Budget | None = None

    @property
    def is_restored(self) -> bool:
        return bool(self.state and self.state.pause_kind == PauseKind.RESTORED)

    @property
    def is_paused(self) -> bool:
        return bool(self.state and (self.state.paused_at or self.state.held_at))


def overview(accounts: Sequence[Account], now: datetime) -> list[Standing]:
    """The accounts' states, those that need somebody first."""
    ids = [account.pk for account in accounts]
    settings = BrazeSettings.objects.in_bulk(ids, field_name="account_id")
    states = BrazeState.objects.in_bulk(ids, field_name="account_id")
    counts, paces = _open_entries(ids), rates.pace(ids, now)
    standings = [
        _standing(account, settings.get(account.pk), states.get(account.pk), counts[account.pk], paces, now)
        for account in accounts
    ]
    return sorted(standings, key=lambda one: ((BAD, BUSY, GOOD, OFF).index(one.tone), one.account.name))


def of(account: Account, now: datetime) -> Health:
    settings = BrazeSettings.objects.filter(account=account).first()
    state = BrazeState.objects.filter(account=account).first()
    counts, paces = _open_entries([account.pk])[account.pk], rates.pace([account.pk], now)
    today, is_cut = _today(account.pk, now)
    return Health(
        standing=_standing(account, settings, state, counts, paces, now),
        settings=settings,
        state=state,
        by_rule=_pending(account.pk).filter(due_at__gt=now).count(),
        today=today,
        today_is_cut=is_cut,
        delay=_delay(account.pk, now),
        budget=_budget(settings, now) if settings else None,
    )


# --- in words -------------------------------------------------------------------------------------------


def _standing(
    account: Account,
    settings: BrazeSettings | None,
    state: BrazeState | None,
    counts: dict[str, int],
    paces: dict[int, Pace],
    now: datetime,
) -> Standing:
    ready, pace = readiness.judge(settings, state, now), paces.get(account.pk, Pace())
    tone, words = (
        _in_words(ready, state) if not ready.is_ready else _moving(account.pk, ready, state, counts, pace, now)
    )
    return Standing(
        account, words, tone, counts[Status.PENDING], counts[Status.BUFFERED], counts[Status.REJECTED],
        counts[Status.UNKNOWN], pace.last,
    )  # fmt: skip


def _in_words(ready: Readiness, state: BrazeState | None) -> tuple[str, str]:
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
    if state.pause_kind == PauseKind.RESTORED:
        return BAD, f"paused on {_moment(state.paused_at)}: this database was restored from a backup"
    return BAD, f"paused: Braze refused on {_moment(state.paused_at)}: {ready.detail}"


def _moving(
    account_id: int, ready: Readiness, state: BrazeState | None, counts: dict[str, int], pace: Pace, now: datetime
) -> tuple[str, str]:
    """Of an account that may send: whether it does."""
    waiting = _number(counts[Status.PENDING])
    oldest = _oldest(account_id, now) if counts[Status.PENDING] else None
    if ready.on_probation and state and state.last_error:
        return BUSY, f"trying again, one request at a time: the last one failed: {state.last_error}"
    if oldest is None or now - oldest < SOON:
        return GOOD, "healthy"
    if pace.per_second:
        return BUSY, f"catching up: {waiting} waiting, about {_duration(counts[Status.PENDING] / pace.per_second)}"
    if now - oldest < LONG or (pace.last and now - pace.last < LONG):
        return BUSY, f"catching up: {waiting} waiting"
    return BAD, f"standing still: {waiting} waiting, the oldest since {_moment(oldest)}. Are the workers running?"


def _oldest(account_id: int, now: datetime) -> datetime | None:
    """Since when the oldest change waits that no rule keeps back."""
    free = _pending(account_id).filter(parked=False).exclude(due_at__gt=now)
    return free.order_by("pk").values_list("created_at", flat=True).first()


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


# --- numbers --------------------------------------------------------------------------------------------


def _pending(account_id: int) -> "QuerySet[OutboxEntry]":
    return OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING)


def _open_entries(account_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """By account and status, of those that are not done: each status has a partial index."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for account_id in account_ids:
        mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME)
        for status in (Status.PENDING, Status.BUFFERED):
            counts[account_id][status] = ages.counted(mine.filter(status=status))
    failed = OutboxEntry.objects.filter(account_id__in=account_ids, status__in=(Status.REJECTED, Status.UNKNOWN))
    grouped = failed.filter(integration=NAME).order_by().values_list("account_id", "status")
    for account_id, status, number in grouped.annotate(Count("pk")):
        counts[account_id][status] = number
    return counts


def _today(account_id: int, now: datetime) -> tuple[dict[str, int], bool]:
    """What the changes captured in the last 24 hours have come to, by status; and whether only the newest count."""
    key = f"braze.console.today.{account_id}"
    if (known := cache.get(key)) is None:
        since, newest = ages.first_since(now - timedelta(days=1)), ages.newest() - DAYS_NEWEST
        mine = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, pk__gte=max(since, newest))
        known = dict(mine.order_by().values_list("status").annotate(Count("pk"))), newest > since
        cache.set(key, known, DAY_CACHE_SECONDS)
    counts, is_cut = known
    return {status.value: counts.get(status.value, 0) for status in Status}, is_cut


def _delay(account_id: int, now: datetime) -> Delay | None:
    accepted = Delivery.objects.filter(
        account_id=account_id, outcome__in=ARRIVED, finished_at__gte=now - timedelta(days=1)
    )
    requests = accepted.order_by("-finished_at").defer("body")[:NEWEST]
    carried = sorted({pk for request in requests for pk in sent.entries_of(request)})[-SAMPLE:]
    changes = OutboxEntry.objects.filter(pk__in=carried, status=Status.DELIVERED, settled_at__isnull=False)
    times = changes.values_list("created_at", "settled_at")
    seconds = [(settled - created).total_seconds() for created, settled in times if settled]
    if not seconds:
        return None
    twentieths = quantiles(seconds, n=20) if len(seconds) > 1 else seconds * 19
    return Delay(half=twentieths[9], most=twentieths[18], of=len(seconds))


def _budget(settings: BrazeSettings, now: datetime) -> Budget:
    started = rates.calls_since(settings, now - timedelta(minutes=1))
    mine = started.get(settings.account_id, 0)
    allowed = max(settings.calls_per_window * 60 // settings.window_seconds, 1)
    return Budget(mine=mine, others=sum(started.values()) - mine, allowed=allowed)

"""The states of all accounts, and of one in full: numbers, beside the words of `standing`."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import quantiles

from django.core.cache import cache
from django.db.models import Count

from integrations.braze.console import ages, rates, standing
from integrations.braze.console.rates import ARRIVED
from integrations.braze.console.standing import BAD, BUSY, GOOD, OFF, Facts, Standing
from integrations.braze.delivery import ledger, limiter
from integrations.braze.integration import NAME, entries_of, pending_of
from integrations.braze.models import BrazeSettings, BrazeState, Delivery, Endpoint
from integrations.braze.models.account import PauseKind
from integrations.outbox.models import OPEN, OutboxEntry, Status
from masivo_braze.loyalty.models import Account

#: The delay is measured over this many of the newest accepted requests, and this many of their changes.
NEWEST, SAMPLE = 10, 2_000
#: How long a day's counts are cached.
DAY_CACHE_SECONDS = 15
#: A day's counts go through this many of all accounts' newest changes, at most.
DAYS_NEWEST = 200_000


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds from commit to Braze's answer over the last `of` delivered changes.

    The median, and the 95th percentile.
    """

    half: float
    most: float
    of: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests of the last minute and what the limit allows in one; and of this clock hour, if there is an hourly
    limit.

    `others` are requests of other accounts with the same key; the tightest of all their limits holds.
    """

    mine: int
    others: int
    allowed: int
    this_hour: int = 0
    allowed_an_hour: int | None = None

    @property
    def percent(self) -> float:
        """How much is used of the limit that is nearest to being used up."""
        of_hour = self.this_hour / self.allowed_an_hour if self.allowed_an_hour else 0.0
        return 100 * max((self.mine + self.others) / self.allowed, of_hour)


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


def overview(accounts: Sequence[Account], now: datetime, shown: slice = slice(None)) -> list[Standing]:
    """The accounts' states, first those that need attention, then those with something to decide.

    Only the slice `shown` of these is returned, and only there are changes counted.
    """
    failed = _failed([account.pk for account in accounts])

    def need(one: Facts) -> tuple[int, bool, str, int]:
        tone, _ = standing.in_words(one, {}, now)
        return (BAD, BUSY, GOOD, OFF).index(tone), not failed[one.account.pk], one.account.name, one.account.pk

    found = sorted(standing.facts(accounts, now), key=need)[shown]
    on_the_way = _on_the_way([one.account.pk for one in found])
    return [_standing(one, failed[one.account.pk] | on_the_way[one.account.pk], now) for one in found]


def of(account: Account, now: datetime) -> Health:
    """One account in full."""
    (facts,) = standing.facts([account], now)
    counts, settings = _failed([account.pk])[account.pk] | _on_the_way([account.pk])[account.pk], facts.ready.settings
    today, is_cut = _today(account.pk, now)
    return Health(
        standing=_standing(facts, counts, now),
        settings=settings,
        state=facts.state,
        by_rule=pending_of(account.pk).filter(due_at__gt=now).count(),
        today=today,
        today_is_cut=is_cut,
        delay=_delay(account.pk, now),
        budget=_budget(settings, now) if settings else None,
    )


def _standing(one: Facts, counts: dict[str, int], now: datetime) -> Standing:
    tone, words = standing.in_words(one, counts, now)
    return Standing(
        one.account, words, tone, counts[Status.PENDING], counts[Status.BUFFERED], counts.get(Status.REJECTED, 0),
        counts.get(Status.UNKNOWN, 0), one.pace.last,
    )  # fmt: skip


# --- numbers --------------------------------------------------------------------------------------------


def _on_the_way(account_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Numbers of unsettled changes, by account and status; each status has a partial index."""
    counts: dict[int, dict[str, int]] = {pk: {} for pk in account_ids}
    for status in (Status.PENDING, Status.BUFFERED):
        rows = OutboxEntry.objects.filter(integration=NAME, status=status)
        for account_id, number in ages.counted_by_account(rows, account_ids).items():
            counts[account_id][status] = number
    return counts


def _failed(account_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Numbers of changes to be decided about, by account and status."""
    failed = OutboxEntry.objects.filter(account_id__in=account_ids, status__in=OPEN)
    grouped = failed.filter(integration=NAME).order_by().values_list("account_id", "status")
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for account_id, status, number in grouped.annotate(Count("pk")):
        counts[account_id][status] = number
    return counts


def _today(account_id: int, now: datetime) -> tuple[dict[str, int], bool]:
    """Numbers of changes captured in the last 24 hours by status; and whether only `DAYS_NEWEST` were gone through."""
    key = f"braze.console.today.{account_id}"
    if (known := cache.get(key)) is None:
        since, newest = ages.first_since(now - timedelta(days=1)), ages.newest() - DAYS_NEWEST
        mine = entries_of(account_id).filter(pk__gte=max(since, newest))
        known = dict(mine.order_by().values_list("status").annotate(Count("pk"))), newest > since
        cache.set(key, known, DAY_CACHE_SECONDS)
    counts, is_cut = known
    return {status.value: counts.get(status.value, 0) for status in Status}, is_cut


def _delay(account_id: int, now: datetime) -> Delay | None:
    accepted = Delivery.objects.filter(
        account_id=account_id, outcome__in=ARRIVED, finished_at__gte=now - timedelta(days=1)
    )
    requests = accepted.order_by("-finished_at").defer("body")[:NEWEST]
    carried = sorted(ledger.named(request.manifest for request in requests))[-SAMPLE:]
    changes = OutboxEntry.objects.filter(pk__in=carried, status=Status.DELIVERED, settled_at__isnull=False)
    times = changes.values_list("created_at", "settled_at")
    seconds = [(settled - created).total_seconds() for created, settled in times if settled]
    if not seconds:
        return None
    twentieths = quantiles(seconds, n=20) if len(seconds) > 1 else seconds * 19
    return Delay(half=twentieths[9], most=twentieths[18], of=len(seconds))


def _budget(settings: BrazeSettings, now: datetime) -> Budget:
    limit = limiter.limit_of(settings, Endpoint.TRACK)
    started = rates.calls_since(settings, now - timedelta(minutes=1))
    mine = started.get(settings.account_id, 0)
    windows = {(limit.calls, limit.window_seconds), *limit.also}
    this_hour = rates.calls_since(settings, standing.clock_hour(now)) if limit.per_hour else {}
    return Budget(
        mine=mine,
        others=sum(started.values()) - mine,
        allowed=max(int(min(calls * 60 // seconds for calls, seconds in windows)), 1),
        this_hour=sum(this_hour.values()),
        allowed_an_hour=limit.per_hour,
    )

"""How much was sent to Braze, and how much of it failed: read from the ledger, which has a row per request."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from django.core.cache import cache
from django.db.models import Count, Min, OuterRef, Subquery, Sum
from django.db.models.functions import TruncHour, TruncMinute

from integrations.braze.models import BrazeSettings, Delivery, Endpoint, Outcome, fingerprint
from integrations.braze.models.ledger import ARRAYS
from masivo_braze.loyalty.models import Account

#: Outcomes of requests whose objects count as accepted. Objects refused by name are counted in the failed syncs.
ARRIVED = (Outcome.ACCEPTED, Outcome.PARTIAL)
FAILURES = (Outcome.REFUSED, Outcome.PARTIAL, Outcome.RETRY, Outcome.UNKNOWN)
JUST_NOW = timedelta(seconds=30)
#: A settlement may commit this long after the time it has written; older points no longer change.
SETTLED = timedelta(minutes=2)


class Period(Enum):
    """What a chart covers: its length, and that of one of its points, in minutes."""

    HOUR = ("hour", 60, 1)
    DAY = ("day", 1_440, 15)
    WEEK = ("week", 10_080, 180)

    def __init__(self, word: str, minutes: int, step: int) -> None:
        self.word, self.minutes, self.step = word, minutes, step

    @classmethod
    def named(cls, word: str) -> "Period":
        return next((period for period in cls if period.word == word), cls.HOUR)


@dataclass(frozen=True, slots=True)
class Chart:
    """By point in time: objects per minute by kind, and failed requests by outcome."""

    times: list[datetime]
    objects: dict[str, list[float]]
    failures: dict[str, list[int]]

    @property
    def is_empty(self) -> bool:
        objects, failures = self.objects.values(), self.failures.values()
        return not any(map(any, objects)) and not any(map(any, failures))


@dataclass(frozen=True, slots=True)
class Pace:
    """Objects accepted per second in the last 30 s, and when the last request was accepted, however long ago."""

    per_second: float = 0.0
    last: datetime | None = None


def chart(account_ids: Collection[int], period: Period, now: datetime) -> Chart:
    """Completed points no longer change, so they are read once and cached."""
    step = timedelta(minutes=period.step)
    last = _floor(now, period.step)
    start = last - timedelta(minutes=period.minutes) + step
    times = [start + timedelta(minutes=minute) for minute in range(0, period.minutes, period.step)]
    place = {time: index for index, time in enumerate(times)}
    objects: dict[str, list[float]] = {kind: [0.0] * len(times) for kind in ARRAYS}
    failures: dict[str, list[int]] = {outcome.label: [0] * len(times) for outcome in FAILURES}
    for time, outcome, requests, *sums in (
        *_past(account_ids, period, start, last),
        *_grouped(account_ids, period, last),
    ):
        index = place.get(_floor(time, period.step))
        if index is None:
            continue
        if outcome in FAILURES:
            failures[Outcome(outcome).label][index] += requests
        for kind, number in zip(ARRAYS, sums if outcome in ARRIVED else (), strict=False):
            objects[kind][index] += number / period.step
    return Chart(times, objects, failures)


def pace(account_ids: Collection[int], now: datetime) -> dict[int, Pace]:
    """By account; accounts that never had a request accepted are missing."""
    rows = Delivery.objects.filter(
        account_id__in=account_ids, finished_at__gte=now - JUST_NOW, outcome__in=ARRIVED
    ).order_by()
    grouped = rows.values_list("account_id").annotate(Min("started_at"), *(Sum(kind) for kind in ARRAYS))
    of_late: dict[int, float] = {}
    for account_id, first, *numbers in grouped:
        of_late[account_id] = sum(numbers) / max((now - first).total_seconds(), 1.0)
    return {account_id: Pace(of_late.get(account_id, 0.0), last) for account_id, last in _last(account_ids).items()}


def calls_since(settings: BrazeSettings, since: datetime) -> dict[int, int]:
    """Requests to `/users/track` started since then, by account: of all accounts that share the key, and so the limit.

    Whatever was started since is either in flight or has ended since, and an index finds each of these.
    """
    return _started([settings.account_id, *(other.account_id for other in settings.sharing_key())], since)


def calls_with_keys(every: Iterable[BrazeSettings], since: datetime) -> dict[int, int]:
    """By account, the requests of all accounts that share its key, as `calls_since`: for many in as many queries."""
    keys = {each.account_id: fingerprint.of(each.rest_endpoint, each.api_key) for each in every}
    found = BrazeSettings.objects.filter(fingerprint__in=set(keys.values()) - {""})
    sharing = keys | dict(found.values_list("account_id", "fingerprint"))
    by_key: dict[str, int] = defaultdict(int)
    for account_id, number in _started(sharing, since).items():
        by_key[sharing[account_id]] += number
    return {account_id: by_key[key] for account_id, key in keys.items()}


def _started(account_ids: Collection[int], since: datetime) -> dict[int, int]:
    rows = Delivery.objects.filter(
        account_id__in=account_ids, endpoint=Endpoint.TRACK, started_at__gte=since
    ).order_by()
    calls: dict[int, int] = defaultdict(int)
    for some in (rows.filter(finished_at__isnull=True), rows.filter(finished_at__gte=since)):
        for account_id, number in some.values_list("account_id").annotate(Count("pk")):
            calls[account_id] += number
    return calls


def _last(account_ids: Collection[int]) -> dict[int, datetime]:
    """By account, when its last request was accepted, however long ago; an index finds each."""
    mine = Delivery.objects.filter(account_id=OuterRef("pk"), outcome__in=ARRIVED, finished_at__isnull=False)
    last = Subquery(mine.order_by("-finished_at").values("finished_at")[:1])
    lasts = Account.objects.filter(pk__in=account_ids).order_by().values_list("pk").annotate(last=last)
    return {pk: moment for pk, moment in lasts if moment}


def _past(account_ids: Collection[int], period: Period, start: datetime, end: datetime) -> list[Any]:
    key = f"braze.console.chart.{period.word}.{end.timestamp():.0f}.{','.join(map(str, sorted(account_ids)))}"
    if (known := cache.get(key := hashlib.sha256(key.encode()).hexdigest())) is None:
        known = _grouped(account_ids, period, start, end - SETTLED)
        cache.set(key, known, period.step * 60 + 60)
    return [*known, *_grouped(account_ids, period, end - SETTLED, end)]


def _grouped(account_ids: Collection[int], period: Period, start: datetime, end: datetime | None = None) -> list[Any]:
    """Rows of a time, an outcome, the number of requests, and of objects by kind."""
    rows = Delivery.objects.filter(account_id__in=account_ids, finished_at__gte=start)
    rows = rows.exclude(outcome=Outcome.DISSOLVED)
    if end:
        rows = rows.filter(finished_at__lt=end)
    truncated = TruncHour if period.step >= 60 else TruncMinute
    grouped = rows.order_by().values_list(truncated("finished_at"), "outcome")
    return list(grouped.annotate(Count("pk"), *(Sum(kind) for kind in ARRAYS)))


def _floor(time: datetime, minutes: int) -> datetime:
    seconds = int(time.timestamp())
    return datetime.fromtimestamp(seconds - seconds % (minutes * 60), tz=time.tzinfo)

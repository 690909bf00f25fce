"""The rate limiter: one shared line of evenly spaced slots in Redis, on Redis' own clock.

Keys, in braces so that a cluster keeps them together; `<budget>` is a digest of host, API key and endpoint class, so
accounts that share a key share its budget, and the key itself is nowhere:
  braze:{<budget>}:slot  the next free slot, the moment of that reckoning and the slot's spacing, in µs, as "<slot>
                         <moment> <spacing>": a moment yet to come means that the clock went back, and by how much;
                         another spacing than the caller's, that the limit has changed
  braze:{<budget>}:hour  hash: a clock hour, the requests in it (Braze's hourly limits "reset on the clock hour"), the
                         run of the server that counted (a restarted server may have lost the latest counts), and the
                         latest hour ever counted (a clock that went back will reach it again)
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from integrations.braze.delivery import connection
from integrations.braze.models import BrazeSettings, Delivery, Endpoint, fingerprint
from integrations.outbox.clock import database_now
from integrations.outbox.prepared import Prepared

#: The share of the limit that is used: requests may bunch up on their way to Braze, and Redis may forget slots that it
#: has handed out ahead of time.
SHARE = 0.97
#: Of what `SHARE` leaves, two slots are kept for edges: a window holds one slot more than it has spacings, and so does
#: the series of slots that begins anew after Redis has gone back to an older state.
EDGES = 2
#: Braze: `/users/delete` allows 20,000 requests a minute [Braze: API limits].
DELETE_CALLS, DELETE_WINDOW_SECONDS = 20_000, 60
#: slot.lua's answer if it has to be told how many requests this hour has had.
SEED = -1
#: A sender that has no slot after this time gives up: its request can wait in the buffer, and its thread is needed.
LONGEST_WAIT_SECONDS = 1.0
#: Normally longer than it takes from the moment of a slot to the start in the ledger.
STARTING_SECONDS = 0.1
#: If Redis' clock goes back by less than this, across the turn of an hour, the hour that had begun stays the current
#: one.
STEP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """`calls` in any `window_seconds`, and at most `per_hour` in a clock hour unless that is None.

    `also` has the (calls, seconds) of further windows that must hold too: those of accounts that share the budget.
    """

    budget: str
    calls: int
    window_seconds: float
    per_hour: int | None = None
    also: frozenset[tuple[int, float]] = frozenset()

    @property
    def spacing_us(self) -> int:
        """Microseconds between slots."""
        return max(int(-(-seconds * 1_000_000 // (SHARE * calls))) for calls, seconds in self._windows)

    @property
    def ahead_seconds(self) -> float:
        """How far ahead of time slots may be handed out: so far that those Redis forgets fit into what `SHARE` leaves.

        0 if the limit is too small for that: senders then wait for the moment of their slot, one at a time.
        """
        forgotten = (1 - SHARE) * min(calls for calls, _ in self._windows) - EDGES
        return min(max(forgotten, 0.0) * self.spacing_us / 1_000_000, LONGEST_WAIT_SECONDS)

    @property
    def _windows(self) -> set[tuple[int, float]]:
        return {(self.calls, self.window_seconds), *self.also}


@dataclass(frozen=True, slots=True)
class Slots:
    """`granted` slots, one spacing apart, the first of them in `wait_seconds`.

    If none was granted, it makes sense to ask again after that time.
    """

    granted: int
    wait_seconds: float

    @property
    def is_granted(self) -> bool:
        return self.granted > 0


_FIELDS = ("calls_per_window", "window_seconds", "calls_per_hour")
_LIMITS = Prepared(
    lambda shared, pk: BrazeSettings.objects.filter(fingerprint=shared).exclude(pk=pk).values_list(*_FIELDS)
)


def limit_of(settings: BrazeSettings, endpoint: str) -> Limit:
    """The limit that the account's requests to this endpoint are under.

    Accounts with the same key at the same host are one caller to Braze: the tightest of their limits hold for all.
    """
    shared = fingerprint.of(settings.rest_endpoint, settings.api_key)
    asked = shared and endpoint != Endpoint.DELETE
    return _tightest(settings, endpoint, _LIMITS.rows(shared=shared, pk=settings.pk) if asked else [])


def limits_of(every: Iterable[BrazeSettings], endpoint: str) -> dict[int, Limit]:
    """The same for many accounts in one query, by account."""
    shared = {each: fingerprint.of(each.rest_endpoint, each.api_key) for each in every}
    rows = BrazeSettings.objects.filter(fingerprint__in=set(shared.values()) - {""})
    limits: dict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
    for key, pk, *limit in rows.values_list("fingerprint", "pk", *_FIELDS):
        limits[key].append((pk, limit))
    return {
        each.account_id: _tightest(each, endpoint, [limit for pk, limit in limits[key] if pk != each.pk])
        for each, key in shared.items()
    }


def _tightest(settings: BrazeSettings, endpoint: str, others: Sequence[Any]) -> Limit:
    """`others` has the windows and hourly limits of accounts that share the key.

    A window of no calls, or no length, which only code can save, counts as one of one: nothing else would be a limit.
    """
    budget = budget_of(settings, endpoint)
    if endpoint == Endpoint.DELETE:
        return Limit(budget, DELETE_CALLS, DELETE_WINDOW_SECONDS)
    caps = [cap for cap in (settings.calls_per_hour, *(cap for _, _, cap in others)) if cap is not None]
    return Limit(
        budget,
        max(settings.calls_per_window, 1),
        max(settings.window_seconds, 1),
        min(caps, default=None),
        frozenset((max(calls, 1), max(seconds, 1)) for calls, seconds, _ in others),
    )


def budget_of(settings: BrazeSettings, endpoint: str) -> str:
    return _digest(settings.rest_endpoint, settings.api_key, endpoint)


def calls_this_hour(settings: BrazeSettings, endpoint: str) -> int:
    """Requests started in this clock hour according to the ledger, by all accounts that share the key."""
    now = database_now()
    hour = now - timedelta(minutes=now.minute, seconds=now.second, microseconds=now.microsecond)
    sharing = [each.account_id for each in (settings, *settings.sharing_key())]
    return Delivery.objects.filter(account_id__in=sharing, endpoint=endpoint, started_at__gte=hour).count()


def acquire(limit: Limit, calls_this_hour: Callable[[], int], wanted: int = 1) -> list[float]:
    """The moments, on `time.monotonic`, at which requests may leave: up to `wanted`, or none if that would take too
    long.

    Raises `redis.RedisError`.
    """
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        slots = reserve(limit, calls_this_hour, wanted)
        now = time.monotonic()
        if slots.is_granted:
            spacing = limit.spacing_us / 1_000_000
            return [now + slots.wait_seconds + number * spacing for number in range(slots.granted)]
        if now + slots.wait_seconds > end:
            return []
        time.sleep(max(slots.wait_seconds - limit.ahead_seconds, 0.0))


def reserve(limit: Limit, calls_this_hour: Callable[[], int], wanted: int = 1) -> Slots:
    """Reserve the next slots: as many of those wanted as are near enough. Raises `redis.RedisError`.

    `calls_this_hour` counts the ledger's requests; it is called only if Redis has no counter to rely on. Before that,
    senders that got a slot before the counter was lost are given time to start: only then does the ledger count them.
    """
    granted, microseconds = _ask(limit, wanted)
    if granted == SEED:
        time.sleep(limit.ahead_seconds + STARTING_SECONDS)
        granted, microseconds = _ask(limit, wanted, calls_this_hour())
    return Slots(granted, microseconds / 1_000_000)


def defer(limit: Limit, seconds: float) -> None:
    """Braze answered 429: hand out no slot of this budget for `seconds`."""
    connection.run("defer", [_key(limit, "slot")], [int(seconds * 1_000_000)])


def _ask(limit: Limit, wanted: int, used: int = -1) -> tuple[int, int]:
    ahead, step = int(limit.ahead_seconds * 1_000_000), int(STEP_SECONDS * 1_000_000)
    arguments = [limit.spacing_us, ahead, limit.per_hour or 0, used, wanted, step]
    granted, microseconds = connection.run("slot", [_key(limit, "slot"), _key(limit, "hour")], arguments)
    return int(granted), int(microseconds)


def _key(limit: Limit, name: str) -> str:
    return f"braze:{{{limit.budget}}}:{name}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]

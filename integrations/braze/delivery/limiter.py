"""The rate limiter: one shared line of evenly spaced slots in Redis, on Redis' own clock.

Keys, in braces so that a cluster keeps them together; `<budget>` is a digest of host, API key and endpoint class, so
accounts that share a key share its budget, and the key itself is nowhere:
  braze:{<budget>}:slot  the next free slot and the moment of that reckoning, in µs, as "<slot> <moment>": a moment yet
                         to come means that the clock went back, and how far
  braze:{<budget>}:hour  hash: a clock hour, the requests in it (Braze's hourly limits "reset on the clock hour"), the
                         run of the server that counted, since another one may have lost the last of them, and the
                         latest hour ever counted, since a clock that went back comes to it again
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from integrations.braze.delivery import connection
from integrations.braze.models import BrazeSettings, Delivery, Endpoint, fingerprint
from integrations.outbox.clock import database_now
from integrations.outbox.prepared import Prepared

#: We stay this far below the limit: requests may bunch up on their way to Braze, and Redis may forget which slots it
#: has handed out ahead of time.
SHARE = 0.97
#: Of what `SHARE` leaves, two slots go to edges: a window has one slot more than it has spacings, and so has the line
#: of slots that begins anew where Redis is back at an older state.
EDGES = 2
#: Braze: `/users/delete` allows 20,000 requests a minute [Braze: API limits].
DELETE_CALLS, DELETE_WINDOW_SECONDS = 20_000, 60
#: What slot.lua answers where it has to be told how many requests this hour has had.
SEED = -1
#: A sender without a slot after this time gives up: its request can wait in the buffer, its thread is needed.
LONGEST_WAIT_SECONDS = 1.0
#: Longer than it takes, normally, from the moment of a slot to the start in the ledger.
STARTING_SECONDS = 0.1
#: A clock of Redis that goes back by less, over the turn of an hour, leaves the count with the hour that had begun.
STEP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """`calls` in any `window_seconds`, and at most `per_hour` in a clock hour where that is not None.

    `also` are the calls and seconds of other windows that must hold at the same time: of who shares the budget.
    """

    budget: str
    calls: int
    window_seconds: float
    per_hour: int | None = None
    also: frozenset[tuple[int, float]] = frozenset()

    @property
    def spacing_us(self) -> int:
        return max(int(-(-seconds * 1_000_000 // (SHARE * calls))) for calls, seconds in self._windows)

    @property
    def ahead_seconds(self) -> float:
        """How far ahead of time slots are handed out: those that Redis forgets fit into what `SHARE` leaves.

        0 where the limit is too small for that: senders then wait for the very moment, one at a time.
        """
        forgotten = (1 - SHARE) * min(calls for calls, _ in self._windows) - EDGES
        return min(max(forgotten, 0.0) * self.spacing_us / 1_000_000, LONGEST_WAIT_SECONDS)

    @property
    def _windows(self) -> set[tuple[int, float]]:
        return {(self.calls, self.window_seconds), *self.also}


@dataclass(frozen=True, slots=True)
class Slots:
    """`granted` slots, a spacing apart, of which the first is in `wait_seconds`.

    None granted: asking again makes sense after that time.
    """

    granted: int
    wait_seconds: float

    @property
    def is_granted(self) -> bool:
        return self.granted > 0


_LIMITS = Prepared(
    lambda shared, pk: (
        BrazeSettings.objects.filter(fingerprint=shared)
        .exclude(pk=pk)
        .values_list("calls_per_window", "window_seconds", "calls_per_hour")
    )
)


def limit_of(settings: BrazeSettings, endpoint: str) -> Limit:
    """Accounts with the same key at the same host are one caller to Braze: their tightest limits hold for all."""
    budget = budget_of(settings, endpoint)
    if endpoint == Endpoint.DELETE:
        return Limit(budget, DELETE_CALLS, DELETE_WINDOW_SECONDS)
    shared = fingerprint.of(settings.rest_endpoint, settings.api_key)
    others = _LIMITS.rows(shared=shared, pk=settings.pk) if shared else []
    caps = [cap for cap in (settings.calls_per_hour, *(cap for _, _, cap in others)) if cap is not None]
    return Limit(
        budget,
        settings.calls_per_window,
        settings.window_seconds,
        min(caps, default=None),
        frozenset((calls, seconds) for calls, seconds, _ in others),
    )


def budget_of(settings: BrazeSettings, endpoint: str) -> str:
    return _digest(settings.rest_endpoint, settings.api_key, endpoint)


def calls_this_hour(settings: BrazeSettings, endpoint: str) -> int:
    """What the ledger knows of this clock hour, for a limiter that Redis has forgotten: of all who share the key."""
    now = database_now()
    hour = now - timedelta(minutes=now.minute, seconds=now.second, microseconds=now.microsecond)
    sharing = [each.account_id for each in (settings, *settings.sharing_key())]
    return Delivery.objects.filter(account_id__in=sharing, endpoint=endpoint, started_at__gte=hour).count()


def acquire(limit: Limit, calls_this_hour: Callable[[], int], wanted: int = 1) -> list[float]:
    """The moments, on `time.monotonic`, at which requests may go: at most `wanted`, none where that would take long."""
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
    """Reserve the next slots, as many of those wanted as are near.

    `calls_this_hour` counts the ledger's requests; asked only where Redis has no counter to rely on. Those who had a
    slot before it was lost are let start first: the ledger does not know of them until then.
    """
    granted, microseconds = _ask(limit, wanted)
    if granted == SEED:
        time.sleep(limit.ahead_seconds + STARTING_SECONDS)
        granted, microseconds = _ask(limit, wanted, calls_this_hour())
    return Slots(granted, microseconds / 1_000_000)


def defer(limit: Limit, seconds: float) -> None:
    """Braze answered 429: nobody with this budget sends before `seconds` have passed."""
    connection.script("defer")(keys=[_key(limit, "slot")], args=[int(seconds * 1_000_000)])


def _ask(limit: Limit, wanted: int, used: int = -1) -> tuple[int, int]:
    ahead, step = int(limit.ahead_seconds * 1_000_000), int(STEP_SECONDS * 1_000_000)
    arguments = [limit.spacing_us, ahead, limit.per_hour or 0, used, wanted, step]
    granted, microseconds = connection.script("slot")(keys=[_key(limit, "slot"), _key(limit, "hour")], args=arguments)
    return int(granted), int(microseconds)


def _key(limit: Limit, name: str) -> str:
    return f"braze:{{{limit.budget}}}:{name}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]

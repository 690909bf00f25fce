"""What the tests of the limiter share: limits of their own, and the clock and the keys of the real Redis."""

import itertools
import time

from integrations.braze.delivery import connection, limiter
from integrations.braze.delivery.limiter import Limit, Slots

HOUR = 3_600
_budgets = itertools.count()


def limit(calls: int = 3000, window: float = 3, per_hour: int | None = None, budget: str = "") -> Limit:
    """A limit whose budget nobody else uses, unless one is named."""
    return Limit(budget or f"test-{next(_budgets)}", calls, window, per_hour)


def never() -> int:
    raise AssertionError("the ledger was asked")


def reserve(of: Limit, used: int = 0) -> Slots:
    return limiter.reserve(of, lambda: used)


def slot_key(of: Limit) -> str:
    return f"braze:{{{of.budget}}}:slot"


def hour_key(of: Limit) -> str:
    return f"braze:{{{of.budget}}}:hour"


def server_us() -> int:
    seconds, micros = connection.client().time()
    return int(seconds) * 1_000_000 + int(micros)


def wait_until_server(moment_us: int) -> None:
    while server_us() < moment_us:
        time.sleep(0.005)


def away_from_the_turn_of_the_hour() -> None:
    """Tests of the hour's cap start with at least five seconds of the hour left."""
    while server_us() // 1_000_000 % HOUR > HOUR - 5:
        time.sleep(0.1)


def next_free_us(of: Limit) -> int:
    value = connection.client().get(slot_key(of))
    assert isinstance(value, bytes)
    return int(value.split()[0])

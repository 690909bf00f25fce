"""Clocks for Celery that no machine's wall clock can upset.

Messages of ours are hints, and expire within seconds. Celery lets whoever publishes and whoever takes them judge that
by their own wall clocks, so that one machine whose clock is wrong by more than that publishes, or takes, nothing but
expired ones; and a beat whose clock goes back waits until it has caught up. Here a message expires by the broker's
clock, which is the same for all, and the beat counts seconds.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Any

from celery import Celery, Task
from celery.schedules import schedule

logger = logging.getLogger(__name__)

#: How long a comparison with the broker's clock is good for; then that clock is looked at again.
COMPARED_FOR_SECONDS = 30.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BrokerClock:
    """`read` tells the broker's time in seconds since 1970; between two readings this process counts by itself."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._offset: float | None = None
        self._compared_at = float("-inf")

    def now(self) -> datetime:
        """A broker that does not answer leaves the last comparison in force, at first this machine's clock."""
        if monotonic() - self._compared_at > COMPARED_FOR_SECONDS:
            self._compare()
        offset = time() - monotonic() if self._offset is None else self._offset
        return EPOCH + timedelta(seconds=monotonic() + offset)

    def _compare(self) -> None:
        self._compared_at = asked = monotonic()
        try:
            told = self._read()
        except Exception as error:  # the broker may be away in any way; whoever publishes will say so
            logger.debug("the broker's clock cannot be read: %s", type(error).__name__)
            return
        self._offset = told - (asked + monotonic()) / 2


class Hints(Celery):
    """The app whose messages expire by the broker's clock."""

    def __init__(self, main: str) -> None:
        super().__init__(main, task_cls=Hint)
        self._broker_clock = BrokerClock(self._read_broker)

    def now(self) -> datetime:
        return self._broker_clock.now()

    def _read_broker(self) -> float:
        with self.connection_for_write() as connection:
            channel: Any = connection.default_channel
            seconds, micros = channel.client.time()
        return float(seconds) + float(micros) / 1_000_000


class Hint(Task):  # type: ignore[type-arg]  # not generic at run time
    Request = "masivo_braze.requests:HintRequest"


def every(seconds: float) -> schedule:
    """A schedule of the beat by this process' own count of seconds: it has no date, and needs none."""
    return schedule(seconds, nowfun=counted)


def counted() -> datetime:
    return EPOCH + timedelta(seconds=monotonic())

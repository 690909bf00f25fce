"""Clocks for Celery that do not depend on any machine's wall clock.

Our messages are hints that expire within seconds. Celery's publishers and workers judge that by their own wall clocks:
if one machine's clock is off by more, everything it publishes, or takes, has expired; and a beat whose clock is set
back waits until it has caught up. Here messages expire by the broker's clock, which is the same for all, and beat
counts seconds.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, time
from typing import Any

from celery import Celery, Task
from celery.schedules import schedule

from masivo_braze import queues

logger = logging.getLogger(__name__)

#: The broker's clock is read again after this time.
COMPARED_FOR_SECONDS = 30.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BrokerClock:
    """The broker's time, counted by this process between readings. `read` returns it in seconds since 1970."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._offset: float | None = None
        self._compared_at = float("-inf")

    def now(self) -> datetime:
        """If the broker does not answer, the last reading stays in use; before the first one, this machine's clock."""
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
    """A Celery app whose messages expire by the broker's clock."""

    def __init__(self, main: str) -> None:
        super().__init__(main, task_cls=Hint)
        self._broker_clock = BrokerClock(self._read_broker)

    def now(self) -> datetime:
        return self._broker_clock.now()

    def _read_broker(self) -> float:
        with self.connection_for_write() as connection:
            channel: Any = connection.default_channel
            seconds, micros = channel.client.time()
            queues.shorten(channel.client, self._queues())  # a connection is there, now and then
        return float(seconds) + float(micros) / 1_000_000

    def _queues(self) -> set[str]:
        return {self.conf.task_default_queue, *(route["queue"] for route in self.conf.task_routes.values())}


class Hint(Task):  # type: ignore[type-arg]  # not generic at run time
    Request = "masivo_braze.requests:HintRequest"


def every(seconds: float) -> schedule:
    """A schedule for beat that counts seconds by this process' monotonic clock, not by its wall clock."""
    return schedule(seconds, nowfun=counted)


def counted() -> datetime:
    return EPOCH + timedelta(seconds=monotonic())

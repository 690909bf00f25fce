"""Wakes the relays after a commit, without the commit waiting for it.

`on_commit` only sets a flag; a daemon thread of the process publishes, debounced. A lost nudge costs at most a
second: the sweep finds every pending entry.
"""

import logging
import os
import threading
from collections.abc import Collection
from functools import partial

from django.db import transaction

from integrations.outbox.registry import integrations

logger = logging.getLogger(__name__)

#: Changes committed within this time share one message.
DEBOUNCE_SECONDS = 0.02


def after_commit(account_ids: set[int]) -> None:
    """Nudge these accounts' relays once the current transaction has committed."""
    transaction.on_commit(partial(_nudger.flag, account_ids, are_announced=True), robust=True)


def publish_soon(account_id: int) -> None:
    """Like `after_commit`, but at once: debounced, and published by the process' own thread."""
    _nudger.flag({account_id})


def publish(account_id: int, but_not: Collection[str] = ()) -> None:
    """Nudge every integration, but not those named; a failure is logged, and the others are still nudged."""
    for integration in integrations():
        if integration.name in but_not:
            continue
        try:
            integration.nudge(account_id)
        except Exception as error:  # the broker may be down in any way; the sweep makes up for it
            logger.info("nudge of %s for account %s failed: %s", integration.name, account_id, type(error).__name__)


def announce(account_ids: Collection[int]) -> None:
    """Tell every integration that these accounts will be nudged in a moment. A failure costs others no time."""
    for integration in integrations():
        try:
            integration.announce(account_ids)
        except Exception as error:
            logger.debug("%s was not told of nudges to come: %s", integration.name, type(error).__name__)


class _Nudger:
    """A set of account ids and the thread that publishes them; the thread is started anew after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flagged: set[int] = set()
        self._to_announce: set[int] = set()
        self._wake = threading.Event()
        self._pid: int | None = None

    def flag(self, account_ids: set[int], are_announced: bool = False) -> None:
        with self._lock:
            self._flagged |= account_ids
            self._to_announce |= account_ids if are_announced else set()
            if self._pid != os.getpid():
                self._start()
        self._wake.set()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="outbox-nudge", daemon=True).start()
        except RuntimeError as error:  # too many threads: the next flag tries again, the sweep makes up for this one
            logger.warning("nudges wait for a thread: %s", error)
        else:
            self._pid = os.getpid()

    def _announce(self) -> None:
        with self._lock:
            account_ids, self._to_announce = self._to_announce, set()
        if account_ids:
            announce(account_ids)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._announce()
            threading.Event().wait(DEBOUNCE_SECONDS)
            self._wake.clear()
            with self._lock:
                account_ids, self._flagged = self._flagged, set()
                self._to_announce.clear()  # they are published now
            for account_id in account_ids:
                publish(account_id)


def _renew() -> None:
    """A fork may happen while another thread holds the lock: the child starts with a fresh nudger."""
    global _nudger
    _nudger = _Nudger()


_nudger = _Nudger()
os.register_at_fork(after_in_child=_renew)

"""Backlogs leave the machine to other accounts, which have little to do.

While there are others, all backlogs together work a tenth of the time; and, as far as that goes, they stand still while
others are at work: whoever commits a change announces its account in Redis, a moment before the account's relay is
woken, and whoever has sent it says so.

Keys:
  braze:{giving-way}:at-work    sorted set, account id → until when it is expected to be at work, in ms
  braze:{giving-way}:backlogs   sorted set, account id → until when it counts as a backlog, in ms
"""

import threading
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from math import inf
from time import monotonic

import redis
from django.conf import settings

from integrations.braze.delivery import connection
from integrations.outbox import lease, nudge

#: An account that had something to do within this time is likely to have more soon.
OTHERS_WITHIN = timedelta(seconds=1)
#: The length of all pauses, as a multiple of the time that the backlog worked, and of how many backlogs there are.
PAUSE = 9
#: For how long an account is expected to be at work if nobody says that it is done: its Braze may take its time.
AT_WORK_MS = 150
#: What was announced later than this before a flush began is not what it sends: its relay had not begun.
AHEAD_MS = round(nudge.DEBOUNCE_SECONDS * 1000)
#: How often a backlog looks whether others are at work, and whether they still are. Each time costs a round trip.
LOOK_SECONDS = 0.005
STILL_SECONDS = 0.01
#: How much longer than it has earned by work it may stand still if others need that right now. It is deducted later.
ADVANCE_SECONDS = 0.3
#: How much of what it has earned it may keep for when others are at work, instead of pausing after each piece of work.
KEPT_SECONDS = 0.3
#: For how long a backlog counts as one after the longest pause that it may make.
BACKLOG_SECONDS = 1.0

_AT_WORK, _BACKLOGS = "braze:{giving-way}:at-work", "braze:{giving-way}:backlogs"


def announce(account_ids: Collection[int]) -> None:
    """Tell the backlogs of all processes that these accounts are about to be relayed. Raises `redis.RedisError`."""
    connection.run("announce", [_AT_WORK], [AT_WORK_MS, *account_ids])


def done(account_id: int, since: float) -> None:
    """What was ready of this account then (`time.monotonic`) has been sent, or cannot be. Redis may fail."""
    counts_for = AT_WORK_MS - AHEAD_MS - round((monotonic() - since) * 1000)
    with suppress(redis.RedisError):
        connection.run("done", [_AT_WORK], [account_id, counts_for])


class Pauses:
    """The pauses in one backlog's work, piece by piece.

    Each piece earns a multiple of what it took, `BRAZE_GIVE_WAY_SECONDS` at most, to be spent wherever others are at
    work. All threads at work on the piece share that.
    """

    def __init__(self, account_id: int, are_made: bool = True) -> None:
        self._account_id, self._are_made = account_id, are_made
        self._are_others_there = False
        self._kept, self._paused, self._backlogs = 0.0, 0.0, 1
        self.begin()

    def begin(self) -> None:
        """A piece of work begins; what came before it earned nothing, but its pauses count."""
        self._kept = max(self._kept - self._paused, -ADVANCE_SECONDS)
        self._begun, self._paused, self._look_at, self._until = monotonic(), 0.0, 0.0, 0.0

    def look_around(self) -> None:
        """Ask the database whether other accounts need the machine at all; until then, no pauses are made."""
        may_pause = self._are_made and settings.BRAZE_GIVE_WAY_SECONDS > 0
        self._are_others_there = may_pause and lease.have_others_emptied(self._account_id, OTHERS_WITHIN)

    def let_others_pass(self) -> None:
        """In between two steps, in any thread: pause while another account is at work. No query."""
        while self._are_others_there:
            now = monotonic()
            if now >= self._look_at:
                self._look_at = now + LOOK_SECONDS
                pause = max(0.0, min(self._others_for(), STILL_SECONDS, self._left() + ADVANCE_SECONDS))
                self._until, self._look_at = now + pause, max(now + pause, self._look_at)
                self._paused += pause
            if self._until <= now:
                return
            _stand_still(self._until - now)

    def rest(self) -> None:
        """After a piece of work: pause for as long as it has earned, but for what may be kept. The next one begins."""
        left = self._left()
        if self._are_others_there and left > KEPT_SECONDS:
            _stand_still(left - KEPT_SECONDS)
        self._kept, self._paused = min(left, KEPT_SECONDS), 0.0
        self.begin()

    def _left(self) -> float:
        """How many seconds of pauses have been earned and not been spent; negative if more have been."""
        worked = monotonic() - self._begun - self._paused
        return self._kept + min(PAUSE * self._backlogs * worked, settings.BRAZE_GIVE_WAY_SECONDS) - self._paused

    def _others_for(self) -> float:
        """For how many seconds others are expected to be at work."""
        try:
            is_one_for = round((settings.BRAZE_GIVE_WAY_SECONDS + BACKLOG_SECONDS) * 1000)
            keys, arguments = [_AT_WORK, _BACKLOGS], [self._account_id, is_one_for]
            ms, self._backlogs = connection.run("others", keys, arguments)
            return float(ms) / 1000
        except redis.RedisError:  # whoever needs Redis will say so; to ask again would take another time-out
            self._look_at = inf
            return 0.0


def _stand_still(seconds: float) -> None:
    threading.Event().wait(seconds)


#: For work that gives way to nobody.
NO_PAUSES = Pauses(0, are_made=False)

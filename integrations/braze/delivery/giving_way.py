"""A backlog leaves most of the machine to other accounts, which have little to do.

While there are others, it works a quarter of the time; and, as far as that goes, it stands still while they are at
work: whoever commits a change announces its account in Redis, a moment before the account's relay is woken.

Keys:
  braze:at-work   sorted set, account id → until when it is expected to be at work, in ms
"""

import threading
from collections.abc import Collection
from datetime import timedelta
from math import inf
from time import monotonic

import redis
from django.conf import settings

from integrations.braze.delivery import connection
from integrations.outbox import lease

#: An account that had something to do within this time is likely to have more soon.
OTHERS_WITHIN = timedelta(seconds=1)
#: The length of all pauses, as a multiple of the time that the backlog worked.
PAUSE = 3
#: For how long an announcement counts: somewhat longer than a change that comes alone takes to be with Braze.
AT_WORK_MS = 60
#: How often a backlog looks whether others are at work. Each time costs a round trip to Redis.
LOOK_SECONDS = 0.005
#: How much longer than it has earned by work a pause may be that others need right now. It is deducted from later ones.
ADVANCE_SECONDS = 0.1

_AT_WORK = "braze:at-work"


def announce(account_ids: Collection[int]) -> None:
    """Tell the backlogs of all processes that these accounts are about to be relayed. Raises `redis.RedisError`."""
    connection.run("announce", [_AT_WORK], [AT_WORK_MS, *account_ids])


class Pauses:
    """The pauses in one backlog's work, piece by piece.

    For each piece they are `PAUSE` times as long as it took, `BRAZE_GIVE_WAY_SECONDS` at most, wherever in it they are
    made. All threads at work on the piece share them.
    """

    def __init__(self, account_id: int, are_made: bool = True) -> None:
        self._account_id, self._are_made = account_id, are_made
        self._are_others_there = False
        self.begin()

    def begin(self) -> None:
        """A piece of work begins."""
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
                pause = max(0.0, min(self._others_for(), self._left() + ADVANCE_SECONDS))
                self._until = now + pause
                self._paused += pause
            if self._until <= now:
                return
            _stand_still(self._until - now)

    def rest(self) -> None:
        """After a piece of work: what is left of its pause. The next piece begins."""
        if self._are_others_there and (left := self._left()) > 0:
            _stand_still(left)
        self.begin()

    def _left(self) -> float:
        """For how many seconds the work done so far still has to be paused for."""
        worked = monotonic() - self._begun - self._paused
        return min(PAUSE * worked, settings.BRAZE_GIVE_WAY_SECONDS) - self._paused

    def _others_for(self) -> float:
        """For how many seconds others are expected to be at work."""
        try:
            return float(connection.run("others", [_AT_WORK], [self._account_id])) / 1000
        except redis.RedisError:  # whoever needs Redis will say so; to ask again would take another time-out
            self._look_at = inf
            return 0.0


def _stand_still(seconds: float) -> None:
    threading.Event().wait(seconds)


#: For work that gives way to nobody.
NO_PAUSES = Pauses(0, are_made=False)

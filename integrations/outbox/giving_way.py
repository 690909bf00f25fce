"""A backlog leaves most of the machine to other accounts, who have little to do and do it."""

import threading
from datetime import timedelta

from django.conf import settings

from integrations.outbox import lease

#: Whoever had something within this time is likely to have more soon.
OTHERS_WITHIN = timedelta(seconds=1)
#: How many times as long as a backlog's work took, the pause after it is.
PAUSE = 3


def give_way(account_id: int, worked: float) -> float:
    """Pause after so many seconds of a backlog's work, if others need the machine; returns how long the pause was.

    A backlog uses all processors and the database, and what others have to do in it takes twice as long or more.
    """
    pause = min(PAUSE * worked, settings.BRAZE_GIVE_WAY_SECONDS)
    if pause <= 0 or not lease.have_others_emptied(account_id, OTHERS_WITHIN):
        return 0.0
    threading.Event().wait(pause)
    return pause

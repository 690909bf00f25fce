"""A backlog leaves most of the machine to other accounts, which have little to do."""

import threading
from datetime import timedelta

from django.conf import settings

from integrations.outbox import lease

#: An account that had something to do within this time is likely to have more soon.
OTHERS_WITHIN = timedelta(seconds=1)
#: The length of a pause, as a multiple of the time that the backlog's work before it took.
PAUSE = 3


def give_way(account_id: int, worked: float) -> float:
    """Pause after `worked` seconds of a backlog's work, if other accounts need the machine; returns for how long.

    A backlog keeps all processors and the database busy, so that others' work takes twice as long or more.
    """
    pause = min(PAUSE * worked, settings.BRAZE_GIVE_WAY_SECONDS)
    if pause <= 0 or not lease.have_others_emptied(account_id, OTHERS_WITHIN):
        return 0.0
    threading.Event().wait(pause)
    return pause

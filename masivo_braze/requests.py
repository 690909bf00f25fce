"""A message as a worker takes it. A module of its own, because it imports Celery's whole worker."""

from typing import Literal

from celery.worker.request import Request
from celery.worker.state import revoked


class HintRequest(Request):
    """A message that expires by the clock of `Hints.now`."""

    def maybe_expire(self) -> Literal[True] | None:
        """Like Celery's, with another clock."""
        if self.expires and self._app.now() > self.expires:  # type: ignore[attr-defined]
            revoked.add(self.id)
            return True
        return None

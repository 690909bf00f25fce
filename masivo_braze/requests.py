"""Messages as a worker takes them: loaded by workers alone, since it brings Celery's whole worker along."""

from typing import Literal

from celery.worker.request import Request
from celery.worker.state import revoked


class HintRequest(Request):
    """A message that a worker has taken."""

    def maybe_expire(self) -> Literal[True] | None:
        """As Celery's, but for the clock."""
        if self.expires and self._app.now() > self.expires:  # type: ignore[attr-defined]
            revoked.add(self.id)
            return True
        return None

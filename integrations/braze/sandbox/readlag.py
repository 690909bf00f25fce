"""Read lag: /users/export/ids shows a profile as it was some seconds ago [1.10, and seen in the recordings]."""

import copy
from collections import deque

from integrations.braze.sandbox.profiles import Profile

Version = tuple[float, Profile | None]


class ReadLag:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._versions: dict[str, deque[Version]] = {}

    def remember(self, external_id: str | None, profile: Profile | None, now: float) -> None:
        """Keep the profile as it stands just before a change at `now`; None when it did not exist."""
        if self.seconds > 0 and external_id is not None:
            versions = self._versions.setdefault(external_id, deque())
            versions.append((now, copy.deepcopy(profile)))
            self._forget(versions, now)

    def seen(self, external_id: str, current: Profile | None, now: float) -> Profile | None:
        """The profile as an export at `now` shows it."""
        versions = self._versions.get(external_id, ())
        for changed_at, before in versions:
            if changed_at > now - self.seconds:
                return before
        return current

    def _forget(self, versions: deque[Version], now: float) -> None:
        while versions and versions[0][0] <= now - self.seconds:
            versions.popleft()

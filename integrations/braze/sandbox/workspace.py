"""The workspace: profiles, totals and what is still on its way into them (reordered requests, slow deletes)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from integrations.braze.sandbox import apply
from integrations.braze.sandbox.journal import Journal
from integrations.braze.sandbox.profiles import Profile, ProfileStore
from integrations.braze.sandbox.readlag import ReadLag
from integrations.braze.sandbox.rules import WorkspaceRules
from integrations.braze.sandbox.totals import Totals


@dataclass(slots=True)
class Batch:
    """The accepted objects of one request, in the order of their arrays; `prices` belongs to `purchases`, exact."""

    request: int
    attributes: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    purchases: list[dict[str, Any]] = field(default_factory=list)
    prices: list[Decimal] = field(default_factory=list, kw_only=True)

    def users(self) -> set[str]:
        items = (*self.attributes, *self.events, *self.purchases)
        return {item["external_id"] for item in items if item.get("external_id") is not None}


class Workspace:
    def __init__(
        self, *, keep_profiles: bool = True, journal: bool = False, delete_delay: float = 0.0, read_lag: float = 0.0
    ) -> None:
        self.keep_profiles = keep_profiles
        self.delete_delay = delete_delay
        self.profiles = ProfileStore()
        self.totals = Totals()
        self.rules = WorkspaceRules()
        self.journal = Journal(journal)
        self.lag = ReadLag(read_lag)
        self._held: list[tuple[float, Batch]] = []
        self._deletes: list[tuple[float, Callable[[], list[Profile]], int]] = []

    def accept(self, batch: Batch, now: float) -> None:
        """Apply the batch, and after it every batch that a reorder fault holds back for one of its users."""
        self._apply(batch, now)
        if self._held:
            users = batch.users()
            for held in [held for held in self._held if users & held[1].users()]:
                self._held.remove(held)
                self._apply(held[1], now)

    def hold(self, batch: Batch, until: float) -> None:
        """Apply the batch only after the next one that shares a user with it, or at `until`."""
        self._held.append((until, batch))

    def delete(self, find: Callable[[], list[Profile]], request: int, now: float) -> None:
        """Delete the profiles that `find` finds, after the configured delay: what was re-created meanwhile goes too."""
        self._deletes.append((now + self.delete_delay, find, request))
        self.advance(now)

    def advance(self, now: float) -> None:
        """Let happen what was due by `now`."""
        for held in [held for held in self._held if held[0] <= now]:
            self._held.remove(held)
            self._apply(held[1], now)
        while self._deletes and self._deletes[0][0] <= now:
            _, find, request = self._deletes.pop(0)
            for profile in find():
                self.lag.remember(profile.external_id, profile, now)
                self.profiles.remove(profile)
                self.journal.add("delete", {"external_id": profile.external_id}, request, now)

    @property
    def under_way(self) -> int:
        """How many accepted requests are still to take effect."""
        return len(self._held) + len(self._deletes)

    def _apply(self, batch: Batch, now: float) -> None:
        """Attributes, then events, then purchases, as Braze does within one request [1.10]."""
        for item in batch.attributes:
            apply.apply_attributes(self, item, batch.request, now)
        for item in batch.events:
            apply.apply_event(self, item, batch.request, now)
        for item, price in zip(batch.purchases, batch.prices, strict=True):
            apply.apply_purchase(self, item, price, batch.request, now)

"""The table of integrations: what each is called, which changes it wants, and how its relay is woken."""

from collections.abc import Collection
from typing import Protocol

from integrations.outbox.models import Topic


class Integration(Protocol):
    """A vendor that captured changes are delivered to."""

    name: str

    def wants(self, account_id: int) -> frozenset[Topic]:
        """The topics that the account's settings ask for now."""

    def announce(self, account_ids: Collection[int]) -> None:
        """These accounts are about to be nudged: what is less urgent may give way to them."""

    def nudge(self, account_id: int) -> None:
        """Ask for the account's pending entries to be relayed; returns without waiting for the work."""

    def asleep(self, account_ids: Collection[int]) -> set[int]:
        """Which of these accounts relay nothing at present, being paused, for instance."""


_integrations: dict[str, Integration] = {}


def register(integration: Integration) -> None:
    _integrations[integration.name] = integration


def unregister(name: str) -> None:
    del _integrations[name]


def integrations() -> list[Integration]:
    return list(_integrations.values())

"""What Braze (the sandbox) holds, read profile by profile."""

from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property
from typing import Any

from dev.demo.totals import Totals
from dev.sample import BIG_SPENDERS, NEW_IN_MARCH
from dev.sandbox import Sandbox


class Held:
    """The profiles of the given customers, as they were when first asked for."""

    def __init__(self, sandbox: Sandbox, external_ids: Iterable[str]) -> None:
        self._profiles = {external_id: sandbox.profile(external_id) for external_id in external_ids}
        self._summary = sandbox.summary()

    @cached_property
    def revenue(self) -> dict[str, Decimal]:
        """Dollars by customer, as the profile shows them."""
        return {name: Decimal(profile.get("revenue", {}).get("USD", 0)) for name, profile in self._profiles.items()}

    @cached_property
    def lines(self) -> set[tuple[str, int]]:
        """(order id, line) of each purchase."""
        return {(properties["order_id"], properties["line"]) for properties in self._properties("purchases")}

    @cached_property
    def purchase_ids(self) -> set[str]:
        return {properties["purchase_id"] for properties in self._properties("purchases")}

    @cached_property
    def event_ids(self) -> set[str]:
        return {properties["event_id"] for properties in self._properties("events")}

    @property
    def sent_twice(self) -> int:
        """Events and purchases applied more than once."""
        return sum(self._summary["duplicates"].values())

    def totals(self) -> Totals:
        return Totals(
            profiles=self._summary["profiles"],
            order_lines=len(self.lines),
            discs=self._summary["purchase_units"],
            revenue=sum(self.revenue.values(), Decimal(0)),
            events=self._summary["events"],
            tagged=self._having("tag_favourite"),
            big_spenders=self._having(f"masivo_{BIG_SPENDERS}"),
            new_in_march=self._having(f"masivo_{NEW_IN_MARCH}"),
        )

    def _properties(self, kind: str) -> Iterable[dict[str, Any]]:
        return (item["properties"] for profile in self._profiles.values() for item in profile.get(kind, []))

    def _having(self, attribute: str) -> int:
        return sum(attribute in profile.get("custom_attributes", {}) for profile in self._profiles.values())

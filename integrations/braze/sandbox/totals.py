"""What a sandbox counts over its whole life. Deleting a profile takes nothing back, as in Braze [6]."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from integrations.braze.sandbox.money import add_exact


@dataclass(slots=True)
class Totals:
    events: int = 0
    purchases: int = 0
    purchase_units: int = 0
    rejected: int = 0
    overlaps: int = 0
    revenue: dict[str, Decimal] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    # Hashes of the ids, not the ids: a long load test would otherwise spend its memory here.
    seen: dict[str, set[int]] = field(default_factory=lambda: {"event_id": set(), "purchase_id": set()})

    def count_purchase(self, quantity: int, currency: str, amount: Decimal) -> None:
        self.purchases += 1
        self.purchase_units += quantity
        add_exact(self.revenue, currency, amount)

    def count_id(self, name: str, item: dict[str, Any]) -> None:
        """Notice an object whose properties carry an id (`name`) that was applied before."""
        properties = item.get("properties")
        if not properties:
            return
        value = properties.get(name)
        if value.__class__ is not str:
            return
        # Not hash(): that differs from process to process, and a state file outlives one.
        seen, key = self.seen[name], int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "big")
        if key in seen:
            self.duplicates[name] += 1
        seen.add(key)

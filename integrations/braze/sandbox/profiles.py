"""Profiles as Braze would hold them, and the indexes that find them by any identifier [1.2]."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from integrations.braze.sandbox.money import add_exact

MAX_DISTINCT_NAMES = 20_000
Alias = tuple[str, str]


@dataclass(slots=True)
class Tally:
    """How often one event name or product id was seen, and when first and last (ISO 8601, UTC)."""

    count: int
    first: str
    last: str


@dataclass(slots=True)
class Profile:
    braze_id: str
    created_at: float
    external_id: str | None = None
    alias: Alias | None = None
    random_bucket: int = 0
    updated_at: float = 0.0
    standard: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    purchases: list[dict[str, Any]] = field(default_factory=list)
    event_names: dict[str, Tally] = field(default_factory=dict)
    products: dict[str, Tally] = field(default_factory=dict)
    revenue: dict[str, Decimal] = field(default_factory=dict)

    @property
    def is_spam(self) -> bool:
        """Over 20,000 distinct event or product names Braze blocks the profile for good [4]."""
        return len(self.event_names) > MAX_DISTINCT_NAMES or len(self.products) > MAX_DISTINCT_NAMES

    def record_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        _count(self.event_names, event["name"], event["time"], 1)

    def record_purchase(self, purchase: dict[str, Any], amount: Decimal) -> None:
        """`amount` = price times quantity; a quantity of X counts as X purchases [5.2]."""
        self.purchases.append(purchase)
        _count(self.products, purchase["product_id"], purchase["time"], purchase["quantity"])
        add_exact(self.revenue, purchase["currency"], amount)


class ProfileStore:
    """All profiles of the workspace. Not thread-safe: the server's loop is the only writer."""

    def __init__(self) -> None:
        self.by_external_id: dict[str, Profile] = {}
        self._by_alias: dict[Alias, Profile] = {}
        self._by_braze_id: dict[str, Profile] = {}
        self._by_contact: dict[tuple[str, str], dict[str, Profile]] = {}
        self.serial = 0  # of the newest profile; ids are never given out twice

    def __len__(self) -> int:
        return len(self._by_braze_id)

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._by_braze_id.values())

    def find(self, item: dict[str, Any]) -> Profile | None:
        """The profile an object is about: by its primary identifier, else by email, else by phone [1.2]."""
        if item.get("external_id") is not None:
            return self.by_external_id.get(item["external_id"])
        if item.get("braze_id") is not None:
            return self._by_braze_id.get(item["braze_id"])
        if item.get("user_alias") is not None:
            return self._by_alias.get(alias_key(item["user_alias"]))
        for name in ("email", "phone"):
            if isinstance(item.get(name), str):
                return self._most_recent(self.with_contact(name, item[name]))
        return None

    def with_contact(self, name: str, value: str) -> list[Profile]:
        """All profiles whose `name` ("email" or "phone") is `value`."""
        return list(self._by_contact.get((name, value), {}).values())

    def create(self, item: dict[str, Any], now: float) -> Profile | None:
        """A new profile for the object's identifier; None for an unknown braze_id, which only Braze can give out."""
        if item.get("braze_id") is not None:
            return None
        self.serial += 1
        braze_id, bucket = f"{int(now):08x}{self.serial:016x}", self.serial * 7919 % 10_000
        profile = Profile(braze_id, now, random_bucket=bucket, updated_at=now)
        profile.external_id = item.get("external_id")
        profile.alias = alias_key(item["user_alias"]) if item.get("user_alias") else None
        self.add(profile)
        return profile

    def add(self, profile: Profile) -> None:
        self._by_braze_id[profile.braze_id] = profile
        if profile.external_id is not None:
            self.by_external_id[profile.external_id] = profile
        if profile.alias is not None:
            self._by_alias[profile.alias] = profile
        for name in ("email", "phone"):
            self._index_contact(profile, name)

    def remove(self, profile: Profile) -> None:
        self._by_braze_id.pop(profile.braze_id, None)
        if profile.external_id is not None:
            self.by_external_id.pop(profile.external_id, None)
        if profile.alias is not None:
            self._by_alias.pop(profile.alias, None)
        for name in ("email", "phone"):
            self._unindex_contact(profile, name)

    def set_standard(self, profile: Profile, name: str, value: Any) -> None:
        """Set a standard field, or remove it when `value` is None; keeps the lookup by email and phone right."""
        if name in ("email", "phone"):
            self._unindex_contact(profile, name)
        if value is None:
            profile.standard.pop(name, None)
        else:
            profile.standard[name] = value
        if name in ("email", "phone"):
            self._index_contact(profile, name)

    def _index_contact(self, profile: Profile, name: str) -> None:
        if name in profile.standard:
            self._by_contact.setdefault((name, profile.standard[name]), {})[profile.braze_id] = profile

    def _unindex_contact(self, profile: Profile, name: str) -> None:
        held = self._by_contact.get((name, profile.standard.get(name, "")))
        if held:
            held.pop(profile.braze_id, None)
            if not held:
                del self._by_contact[(name, profile.standard[name])]

    @staticmethod
    def _most_recent(profiles: list[Profile]) -> Profile | None:
        return max(profiles, key=lambda profile: profile.updated_at, default=None)


def alias_key(alias: dict[str, Any]) -> Alias:
    return alias["alias_label"], alias["alias_name"]


def _count(tallies: dict[str, Tally], name: str, moment: str, number: int) -> None:
    tally = tallies.get(name)
    if tally is None:
        tallies[name] = Tally(number, moment, moment)
        return
    tally.count += number
    tally.first = min(tally.first, moment)
    tally.last = max(tally.last, moment)

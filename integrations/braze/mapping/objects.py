"""The values that flow from mapping to packing."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self, cast

import orjson

from integrations.braze.mapping.rows import AnyPurchase
from integrations.outbox.models import OutboxEntry

#: Braze's ceiling per array of a request [Braze: API limits].
MAX_PER_ARRAY = 75


class Entry(NamedTuple):
    """A captured change as the relay takes it: the columns of an `OutboxEntry` that decide what is sent."""

    pk: int
    kind: str
    customer_external_id: str
    subject: str
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: OutboxEntry) -> Self:
        return cls(entry.pk, entry.kind, entry.customer_external_id, entry.subject, entry.data)

    @property
    def is_of_sale(self) -> bool:
        """Whether an order's entry captured it as fulfilled, so that sales are due, and not reversals."""
        return self.data.get("status") == "FULFILLED"


class BrazeObject(NamedTuple):
    """One object of a request body as JSON, and the outbox entries whose fate it decides.

    `adjustments` are sentences on what was left out or changed. `creates` is false for an object that does not prove
    that its user exists (`_update_existing_only`).
    """

    customer: str
    encoded: bytes
    entries: tuple[int, ...]
    creates: bool = True
    adjustments: tuple[str, ...] = ()
    purchase: AnyPurchase | None = None

    @property
    def body(self) -> dict[str, Any]:
        return cast("dict[str, Any]", orjson.loads(self.encoded))


#: The shared empty mapping of bundles in which nothing is skipped, rejected, failed or parked.
_NONE: Mapping[int, str] = MappingProxyType({})


class Bundle:
    """All that one customer sends in one request, and what becomes of the entries that send nothing.

    `rejected` entries end here, because Braze would refuse their objects. `failed` entries go on with the rest of their
    order, but will end as rejected, because one of its purchases was. `is_known`: Braze has the user, so that accepted
    events and purchases tell the mirror nothing new.

    Not a dataclass: most customers send one object, and making empty collections took longer than mapping it.
    """

    __slots__ = (
        "attributes", "customer", "deletions", "events", "fact_bytes", "failed", "is_known", "new_purchases",
        "outdated", "parked", "purchases", "rejected", "skipped", "unfinished",
    )  # fmt: skip

    def __init__(self, customer: str, is_known: bool = False, rejected: Mapping[int, str] = _NONE) -> None:
        self.customer = customer
        self.is_known = is_known
        self.attributes: list[BrazeObject] = []
        self.events: list[BrazeObject] = []
        self.purchases: list[BrazeObject] = []
        self.deletions: list[BrazeObject] = []
        self.new_purchases: list[AnyPurchase] = []
        self.skipped = self.failed = self.parked = _NONE
        self.rejected = rejected
        self.unfinished: frozenset[int] = frozenset()
        self.outdated: frozenset[str] = frozenset()  #: purchase ids of rows to be deleted: never sent
        self.fact_bytes = 0  #: size of events and purchases as JSON

    def skip(self, entries: Iterable[int], reason: str) -> None:
        self.skipped = {**self.skipped, **dict.fromkeys(entries, reason)}

    def reject(self, entries: Iterable[int], reason: str) -> None:
        self.rejected = {**self.rejected, **dict.fromkeys(entries, reason)}

    def fail(self, entries: Iterable[int], reason: str) -> None:
        self.failed = {**self.failed, **dict.fromkeys(entries, reason)}

    def park(self, entries: Iterable[int], reason: str) -> None:
        self.parked = {**self.parked, **dict.fromkeys(entries, reason)}

"""The values that flow from mapping to packing."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from integrations.braze.models import BrazePurchase
from integrations.outbox.models import OutboxEntry


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


class BrazeObject(NamedTuple):
    """One object of a request body, and the outbox entries whose fate it decides.

    `adjustments` say in words what was left out or changed so that Braze takes the rest. `creates` is false for an
    object that cannot prove that its user exists (`_update_existing_only`).
    """

    customer: str
    body: dict[str, Any]
    entries: tuple[int, ...]
    creates: bool = True
    adjustments: tuple[str, ...] = ()
    purchase: BrazePurchase | None = None
    encoded: bytes = b""  #: the body as JSON, where it has been made already


@dataclass(slots=True)
class Bundle:
    """All that one customer sends in one request, and what becomes of the entries that send nothing.

    `rejected` entries end here, as Braze would refuse what they are about. `failed` ones go on with the rest of their
    order and end as rejected, because one of its purchases was. `is_known`: Braze has the user, so that accepted
    events and purchases tell the mirror nothing new.
    """

    customer: str
    is_known: bool = False
    attributes: list[BrazeObject] = field(default_factory=list)
    events: list[BrazeObject] = field(default_factory=list)
    purchases: list[BrazeObject] = field(default_factory=list)
    deletions: list[BrazeObject] = field(default_factory=list)
    new_purchases: list[BrazePurchase] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    parked: dict[int, str] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    fact_bytes: int = 0  #: what events and purchases weigh as JSON

    @property
    def size(self) -> int:
        return len(self.attributes) + len(self.events) + len(self.purchases)

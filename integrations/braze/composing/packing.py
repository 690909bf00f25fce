"""Packs customers' bundles into full requests. Pure, except that each request gets a random id."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import orjson

from integrations.braze.mapping.objects import MAX_PER_ARRAY, BrazeObject, Bundle
from integrations.braze.models import Delivery, Endpoint
from integrations.braze.models.account import BatchLimit
from integrations.braze.models.ledger import ARRAYS, TRACKED

#: Braze: "up to 50 identifiers" per deletion request [Braze: /users/delete].
MAX_DELETIONS = 50
#: Braze: 4 MB per body [Braze: API limits]; we stay below it.
MAX_BYTES = 3_500_000
#: Requests being filled at once: a customer's objects go into the newest that has room for all of them.
OPEN_DRAFTS = 8


#: Numbers of attributes, events and purchases.
Sizes = tuple[int, int, int]
#: The length of a body, and the body compressed.
Sealed = tuple[int, bytes]


@dataclass(slots=True)
class Draft:
    """A request being filled."""

    endpoint: Endpoint
    attributes: list[BrazeObject] = field(default_factory=list)
    events: list[BrazeObject] = field(default_factory=list)
    purchases: list[BrazeObject] = field(default_factory=list)
    deletions: list[BrazeObject] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    unfinished: set[int] = field(default_factory=set)
    bytes: int = 0
    id: UUID = field(default_factory=uuid4)
    sealed: Sealed | None = None

    def takes(self, sizes: Sizes, size: int, is_combined: bool) -> bool:
        """Whether these objects, of `size` bytes, still fit. Called for every customer and open request: be fast."""
        if self.bytes + size > MAX_BYTES:
            return False
        attributes, events, purchases = sizes
        attributes += len(self.attributes)
        events += len(self.events)
        purchases += len(self.purchases)
        if is_combined:
            return attributes + events + purchases <= MAX_PER_ARRAY
        return attributes <= MAX_PER_ARRAY and events <= MAX_PER_ARRAY and purchases <= MAX_PER_ARRAY

    def entries(self) -> set[int]:
        """Ids of the entries whose fate this request decides."""
        items = chain(self.attributes, self.events, self.purchases, self.deletions)
        return set(chain.from_iterable(item.entries for item in items))

    def seal(self) -> Sealed:
        """The body's length and the compressed body, made at the first call: nothing may be added afterwards."""
        if self.sealed is None:
            encoded = body(self)
            self.sealed = len(encoded), zlib.compress(encoded, 1)
        return self.sealed

    def add(self, bundle: Bundle, size: int) -> None:
        if bundle.attributes:
            self.attributes += bundle.attributes
        if bundle.events:
            self.events += bundle.events
        if bundle.purchases:
            self.purchases += bundle.purchases
        if bundle.is_known:
            self.known.add(bundle.customer)
        if bundle.unfinished:
            self.unfinished |= bundle.unfinished
        self.bytes += size


def pack(bundles: Iterable[Bundle], limit: str) -> list[Draft]:
    """Requests that carry the bundles: each bundle whole, in the newest request with room for it; deletions apart."""
    drafts: list[Draft] = []
    open_drafts: list[Draft] = []
    deletions: list[Bundle] = []
    is_combined = limit == BatchLimit.COMBINED
    for bundle in bundles:
        if bundle.deletions:
            deletions.append(bundle)
        items = bundle.attributes + bundle.events + bundle.purchases
        if not items:
            continue
        size = sum([len(item.encoded) for item in items]) + len(items)
        sizes = (len(bundle.attributes), len(bundle.events), len(bundle.purchases))
        for draft in reversed(open_drafts):  # the newest has the most room
            if draft.takes(sizes, size, is_combined):
                break
        else:
            draft = Draft(Endpoint.TRACK)
            drafts.append(draft)
            open_drafts = [*open_drafts[1 - OPEN_DRAFTS :], draft]
        draft.add(bundle, size)
    return drafts + _deletions(deletions)


def delivery(draft: Draft, account_id: int) -> Delivery:
    """An unsaved row of the ledger for a filled request."""
    size, compressed = draft.seal()
    return Delivery(
        id=draft.id,
        account_id=account_id,
        endpoint=draft.endpoint,
        attributes=len(draft.attributes),
        events=len(draft.events),
        purchases=len(draft.purchases),
        deletions=len(draft.deletions),
        bytes=size,
        manifest=_manifest(draft),
        body=compressed,
    )


def body(draft: Draft) -> bytes:
    """The request's JSON."""
    if draft.endpoint == Endpoint.DELETE:
        return orjson.dumps({"external_ids": [item.customer for item in draft.deletions]})
    arrays = (
        b'"%b":[%b]' % (name.encode(), b",".join([item.encoded for item in items]))
        for name in TRACKED
        if (items := getattr(draft, name))
    )
    return b"{%b}" % b",".join(arrays)


def _deletions(bundles: list[Bundle]) -> list[Draft]:
    drafts = []
    for start in range(0, len(bundles), MAX_DELETIONS):
        draft = Draft(Endpoint.DELETE)
        for bundle in bundles[start : start + MAX_DELETIONS]:
            draft.deletions.extend(bundle.deletions)
        drafts.append(draft)
    return drafts


def _manifest(draft: Draft) -> dict[str, Any]:
    """Made after the purchase rows were inserted, so that each has its primary key."""
    manifest: dict[str, Any] = {
        name: [_line(item, draft.known) for item in items] for name in ARRAYS if (items := getattr(draft, name))
    }
    return manifest | {"unfinished": sorted(draft.unfinished)}


def _line(item: BrazeObject, known: set[str]) -> dict[str, Any]:
    line: dict[str, Any] = {"customer": item.customer, "entries": list(item.entries), "creates": item.creates}
    if item.customer in known:
        line["known"] = True
    return line | {"purchase": item.purchase.pk} if item.purchase else line

"""Bisects a request that Braze refused as a whole, until the culprit stands alone and the rest has gone through.

A half is an ordinary, unstarted request of the ledger. No customer is ever in two halves: of a request of one customer
only the first half is kept, and the rest is composed anew once that has been settled.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from integrations.braze.delivery import ledger
from integrations.braze.models import BrazePurchase, Delivery, Fate
from integrations.outbox.models import Status

#: Arrays of the manifest, in the order Braze applies them, and their names in the body.
IN_BODY = {"attributes": "attributes", "events": "events", "purchases": "purchases", "deletions": "external_ids"}


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a request: its array, its line of the manifest and its JSON."""

    array: str
    line: dict[str, Any]
    sent: Any


def split(delivery: Delivery) -> list[Delivery]:
    """Replace a refused request of several objects by its halves, in the caller's transaction; returns them."""
    items = _items(delivery)
    parts = _halves(items)
    unfinished = set(delivery.manifest.get("unfinished", ()))
    left_out = _entries([item for item in items if all(item not in part for part in parts)])
    halves = [_half(delivery, part, unfinished | left_out) for part in parts]
    Delivery.objects.bulk_create(halves)
    mine = ledger.carried([delivery.manifest]).filter(batch=delivery.pk)
    for half, part in zip(halves, parts, strict=True):
        mine.filter(pk__in=_entries(part)).update(batch=half.pk)
        _move_purchases(part, half.pk)
    mine.update(status=Status.PENDING, batch=None)
    left = ledger.purchases_of([delivery.manifest]).filter(delivery_id=delivery.pk)
    left.update(fate=Fate.PENDING, delivery_id=None)
    return halves


def _items(delivery: Delivery) -> list[Item]:
    payload = delivery.payload
    return [
        Item(array, line, sent)
        for array, name in IN_BODY.items()
        for line, sent in zip(delivery.manifest.get(array, []), payload.get(name, []), strict=True)
    ]


def _halves(items: Sequence[Item]) -> list[list[Item]]:
    customers = list(dict.fromkeys(item.line["customer"] for item in items))
    if len(customers) == 1:
        return [list(items[: len(items) // 2])]
    first = set(customers[: len(customers) // 2])
    return [
        [item for item in items if item.line["customer"] in first],
        [item for item in items if item.line["customer"] not in first],
    ]


def _half(delivery: Delivery, part: Sequence[Item], unfinished: set[int]) -> Delivery:
    arrays = {array: [item for item in part if item.array == array] for array in IN_BODY}
    body = orjson.dumps({IN_BODY[array]: [item.sent for item in items] for array, items in arrays.items() if items})
    manifest: dict[str, Any] = {array: [item.line for item in items] for array, items in arrays.items() if items}
    return Delivery(
        account_id=delivery.account_id,
        endpoint=delivery.endpoint,
        created_at=delivery.created_at,  # it counts as composed under the same settings
        bytes=len(body),
        body=zlib.compress(body, 1),
        manifest=manifest | {"unfinished": sorted(unfinished & _entries(part))},
        **{array: len(items) for array, items in arrays.items()},
    )


def _entries(items: Sequence[Item]) -> set[int]:
    return {pk for item in items for pk in item.line["entries"]}


def _move_purchases(part: Sequence[Item], half: UUID) -> None:
    ids = [item.line["purchase"] for item in part if "purchase" in item.line]
    BrazePurchase.objects.filter(pk__in=ids).update(delivery_id=half)

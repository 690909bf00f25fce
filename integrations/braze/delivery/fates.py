"""The fate of each object of a settled request, from Braze's answer and the account's policies."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from integrations.braze.delivery.verdicts import ObjectFate, Verdict
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.models.account import UnknownPolicy
from integrations.braze.models.ledger import ARRAYS


class Line(NamedTuple):
    """One object of a settled request: its line of the manifest, and its fate.

    `told` is the fate according to Braze's answer; `fate` is what the account's policy for unknown outcomes makes of
    it. `sent` is the object as it was sent, for attributes only.
    """

    request: Delivery
    array: str
    customer: str
    entries: list[int]
    creates: bool
    known: bool
    purchase: int | None
    sent: Any
    told: ObjectFate
    fate: ObjectFate
    reason: str


def is_outdated(delivery: Delivery, settings: BrazeSettings, now: datetime) -> bool:
    """Whether the request was composed under settings that have changed since.

    If the settings' date is yet to come, the database's clock was set back after they were saved. What is dated before
    `now` was composed after that, under the settings as they are.
    """
    return delivery.created_at < settings.updated_at and (settings.updated_at <= now or delivery.created_at > now)


def lines_of(delivery: Delivery, verdict: Verdict, settings: BrazeSettings, now: datetime) -> Iterator[Line]:
    """A line for each object of the request, in the order in which Braze applies them."""
    unclear = unclear_arrays(delivery, verdict)
    attributes = delivery.payload["attributes"] if delivery.attributes else []
    is_old = is_outdated(delivery, settings, now)
    for array in ARRAYS:
        for index, item in enumerate(delivery.manifest.get(array, ())):
            told = ObjectFate.UNKNOWN if array in unclear else verdict.fate(array, index)
            if told == ObjectFate.REJECTED and is_old:
                told = ObjectFate.RETRY  # it says nothing about the current settings, nor about their workspace
            yield Line(
                request=delivery,
                array=array,
                customer=item["customer"],
                entries=item["entries"],
                creates=item["creates"],
                known=item.get("known", False),
                purchase=item.get("purchase"),
                sent=attributes[index] if array == "attributes" else None,
                told=told,
                fate=_by_policy(array, told, settings),
                reason=verdict.reasons.get((array, index), verdict.words),
            )


def unclear_arrays(delivery: Delivery, verdict: Verdict) -> set[str]:
    """Arrays in which Braze names an object that was not sent: its indexes are not ours, so no fate is known."""
    sizes = {array: len(delivery.manifest.get(array, [])) for array in ARRAYS}
    return {array for array, index in verdict.reasons if index >= sizes.get(array, 0)}


def _by_policy(array: str, fate: ObjectFate, settings: BrazeSettings) -> ObjectFate:
    """Attributes and deletions are harmless to repeat. Events and purchases are counted, so the account decides."""
    if fate != ObjectFate.UNKNOWN:
        return fate
    policy = {"events": settings.unknown_events, "purchases": settings.unknown_purchases}.get(array)
    return ObjectFate.UNKNOWN if policy == UnknownPolicy.HOLD else ObjectFate.RETRY

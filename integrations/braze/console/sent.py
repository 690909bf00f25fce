"""What a request carried for a captured change, as it was sent."""

from typing import Any

from integrations.braze.models import Delivery

ARRAYS = ("attributes", "events", "purchases", "deletions")


def entries_of(request: Delivery) -> set[int]:
    """The captured changes that a request carried; entries have no index on their request."""
    return {pk for array in ARRAYS for line in request.manifest.get(array, []) for pk in line["entries"]}


def objects(request: Delivery | None, entry: int, most: int = 20) -> list[Any]:
    """The JSON objects of an entry, in the request's order; none where the contents are not kept."""
    if request is None or not request.body:
        return []
    payload, found = request.payload, []
    for array in ARRAYS:
        items = payload.get("external_ids" if array == "deletions" else array, [])
        found += [
            item for line, item in zip(request.manifest.get(array, []), items, strict=False) if entry in line["entries"]
        ]
    return found[:most]

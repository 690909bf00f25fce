"""What a request carried, as it was sent."""

from collections.abc import Iterator
from typing import Any

from integrations.braze.delivery.splitting import IN_BODY
from integrations.braze.models import Delivery
from integrations.braze.models.ledger import ARRAYS


def lines(request: Delivery, with_contents: bool = True) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Array, line of the manifest and JSON object, in the request's order.

    None for an object that is no longer kept.
    """
    payload = request.payload if request.body and with_contents else {}
    for array in ARRAYS:
        objects = payload.get(IN_BODY[array], [])
        for index, line in enumerate(request.manifest.get(array, [])):
            yield array, line, objects[index] if index < len(objects) else None


def objects(request: Delivery | None, entry: int) -> list[Any]:
    """The JSON objects of an entry, in the request's order; [] if the contents are no longer kept."""
    found = lines(request) if request else ()
    return [item for _, line, item in found if item is not None and entry in line["entries"]]

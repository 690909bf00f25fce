"""Which requests no entry refers to, so that they, or their payloads, may go."""

from collections.abc import Iterator
from uuid import UUID

from django.db.models import QuerySet

from integrations.braze.models import Delivery
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.querysets import chunked

#: Requests looked at together: for each such page, all entries that may refer to one are gone through.
PAGE = 10_000


def not_referred_to(
    requests: "QuerySet[Delivery]", entries: "QuerySet[OutboxEntry]", size: int
) -> Iterator[list[UUID]]:
    """Ids of the requests that none of the entries refers to, `size` at a time, each request looked at once.

    The ids of a page are passed as values. A subquery of entries in their place, once it outgrows the database's memory
    (`work_mem`), is searched from its beginning for each request, which takes hours.
    """
    after: UUID | None = None
    while ids := list(
        (requests.filter(pk__gt=after) if after else requests).order_by("pk").values_list("pk", flat=True)[:PAGE]
    ):
        after = ids[-1]
        kept = set(entries.filter(batch__among=ids).values_list("batch", flat=True))
        yield from chunked((pk for pk in ids if pk not in kept), size)

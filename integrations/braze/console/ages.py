"""Entries by age and by number, without an index on their times and without counting millions.

Ids grow with time, so the first entry since some moment is found by halving.
"""

from datetime import datetime

from django.db.models import Max, Min, QuerySet

from integrations.outbox.models import OutboxEntry

#: Counted no further: nobody acts otherwise on more.
MOST = 100_000


def first_since(moment: datetime) -> int:
    """The id from which on entries were captured at `moment` or later: one more than the last where there is none."""
    ends = OutboxEntry.objects.aggregate(first=Min("pk"), last=Max("pk"))
    low, high = ends["first"] or 0, (ends["last"] or 0) + 1
    while low < high:
        middle = (low + high) // 2
        entry = OutboxEntry.objects.filter(pk__gte=middle).order_by("pk").values_list("pk", "created_at").first()
        if entry is None or entry[1] >= moment:
            high = middle
        else:
            low = entry[0] + 1
    return low


def newest() -> int:
    """The greatest id."""
    return int(OutboxEntry.objects.aggregate(last=Max("pk"))["last"] or 0)


def counted(rows: "QuerySet[OutboxEntry]", most: int = MOST) -> int:
    """How many there are, or `most` where there are more."""
    return rows.order_by()[:most].count()

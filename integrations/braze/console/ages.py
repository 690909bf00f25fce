"""Entries by age and number, without an index on their times and without counting millions.

Ids grow with time, so the first entry since some moment is found by binary search.
"""

from datetime import datetime

from django.db.models import Max, Min, QuerySet

from integrations.outbox.models import OutboxEntry

#: Nothing is counted beyond this: nobody would act differently on more.
MOST = 100_000


def first_since(moment: datetime) -> int:
    """The lowest id of an entry captured at `moment` or later; one more than the highest id if there is none."""
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
    """The highest id; 0 if there are no entries."""
    return int(OutboxEntry.objects.aggregate(last=Max("pk"))["last"] or 0)


def counted(rows: "QuerySet[OutboxEntry]", most: int = MOST) -> int:
    """How many rows there are, but at most `most`."""
    return rows.order_by()[:most].count()

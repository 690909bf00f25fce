"""Entries by age and number, without an index on their times and without counting millions.

Ids grow with time, so the first entry since some moment is found by binary search.
"""

from collections.abc import Collection
from datetime import datetime

from django.db.models import IntegerField, Max, Min, OuterRef, QuerySet, Subquery

from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account

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


class _Counted(Subquery):
    """The number of the subquery's rows."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def counted_by_account(rows: "QuerySet[OutboxEntry]", account_ids: Collection[int], most: int = MOST) -> dict[int, int]:
    """How many rows each account has, but at most `most`, in one query; their index has to begin with the account."""
    mine = rows.filter(account_id=OuterRef("pk")).order_by().values("pk")[:most]
    accounts = Account.objects.filter(pk__in=account_ids).order_by()
    return dict(accounts.annotate(number=_Counted(mine)).values_list("pk", "number"))

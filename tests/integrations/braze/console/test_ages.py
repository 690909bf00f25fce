"""Where entries of some age begin is found by their ids, which have an index."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from integrations.braze.console import ages
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def entries(account: Account, number: int, at: datetime) -> None:
    values = {"integration": "braze", "kind": "event", "customer_external_id": "c1", "created_at": at}
    OutboxEntry.objects.bulk_create(OutboxEntry(account=account, **values) for _ in range(number))


def test_the_first_id_of_a_time_is_found_between_gaps(account: Account) -> None:
    for hours in (9, 7, 5, 3, 1):
        entries(account, 2, ago(hours=hours))
    ids = list(OutboxEntry.objects.order_by("pk").values_list("pk", flat=True))
    OutboxEntry.objects.filter(pk__in=ids[3:6]).delete()
    assert ages.first_since(ago(hours=10)) == ids[0]
    assert ages.first_since(ago(hours=8)) == ids[2]
    assert ages.first_since(ago(hours=6)) in range(ids[2] + 1, ids[6] + 1)
    assert ages.first_since(ago(hours=1)) == ids[8]
    assert ages.first_since(NOW) == ids[9] + 1


def test_a_search_by_age_takes_few_queries(account: Account, django_assert_max_num_queries: Callable[..., Any]) -> None:
    entries(account, 2_000, ago(hours=1))
    with django_assert_max_num_queries(14):
        ages.first_since(ago(minutes=1))

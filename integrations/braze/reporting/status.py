"""How each account's sync stands: what `braze_status` prints."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min

from integrations.braze.delivery import readiness
from integrations.braze.delivery.readiness import Readiness
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.braze.reporting import open_requests
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status

#: In the order of `braze_status`.
COUNTED = (
    Status.PENDING,
    Status.BUFFERED,
    Status.UNKNOWN,
    Status.REJECTED,
    Status.DELIVERED,
    Status.SKIPPED,
    Status.DISCARDED,
)


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """`counts` has a number for each of `COUNTED`; `oldest_pending_seconds` is 0 if nothing is pending.

    `oldest_buffered_seconds` is the age of the oldest request that waits to be sent, or whose answer is overdue; 0 if
    there is none.
    """

    account: str
    readiness: Readiness
    counts: dict[str, int]
    oldest_pending_seconds: float
    oldest_buffered_seconds: float

    def as_json(self) -> dict[str, object]:
        return {
            "account": self.account,
            "state": self.readiness.state,
            **self.counts,
            "oldest_pending_seconds": self.oldest_pending_seconds,
            "oldest_buffered_seconds": self.oldest_buffered_seconds,
        }


def of_accounts() -> list[AccountStatus]:
    """Every account that has Braze settings, by slug."""
    now = database_now()
    states = {state.account_id: state for state in BrazeState.objects.all()}
    (counts, oldest), requests = _entries(), open_requests.oldest(now)
    return [
        AccountStatus(
            account=settings.account.slug,
            readiness=readiness.judge(settings, states.get(settings.account_id), now),
            counts={status.value: counts[settings.account_id, status.value] for status in COUNTED},
            oldest_pending_seconds=_age(oldest.get(settings.account_id), now),
            oldest_buffered_seconds=_age(requests.get(settings.account_id), now),
        )
        for settings in BrazeSettings.objects.select_related("account").order_by("account__slug")
    ]


def _entries() -> tuple[dict[tuple[int, str], int], dict[int, datetime]]:
    """Numbers of entries by (account, status), and by account when the oldest pending one was captured."""
    counts: dict[tuple[int, str], int] = defaultdict(int)
    oldest: dict[int, datetime] = {}
    groups = OutboxEntry.objects.filter(integration=NAME).order_by().values_list("account_id", "status")
    for account_id, status, number, first in groups.annotate(Count("pk"), Min("created_at")):
        counts[account_id, status] = number
        if status == Status.PENDING:
            oldest[account_id] = first
    return counts, oldest


def _age(since: datetime | None, now: datetime) -> float:
    return round(max((now - since).total_seconds(), 0.0), 1) if since else 0.0

"""What has become of everything, and what tests do about waiting."""

from collections import Counter
from collections.abc import Callable

from integrations.braze.models import BrazeState
from integrations.outbox.models import OutboxEntry

Sync = Callable[[], None]


def counts() -> dict[str, int]:
    """Captured changes by status."""
    return dict(Counter(OutboxEntry.objects.values_list("status", flat=True)))


def ends() -> list[tuple[str, str]]:
    """Kind and status of every entry, in order."""
    return list(OutboxEntry.objects.order_by("pk").values_list("kind", "status"))


def forget_backoff() -> None:
    BrazeState.objects.update(backoff_until=None)


def settle_all(sync: Sync, times: int = 3) -> None:
    """A failed request backs off, is composed anew and may fail again: three times are enough for most."""
    for _ in range(times):
        forget_backoff()
        sync()

"""What has become of everything, and what tests do about waiting."""

from collections import Counter

from integrations.braze.models import BrazeState
from integrations.outbox.models import OutboxEntry


def counts() -> dict[str, int]:
    """Captured changes by status."""
    return dict(Counter(OutboxEntry.objects.values_list("status", flat=True)))


def forget_backoff() -> None:
    BrazeState.objects.update(backoff_until=None)

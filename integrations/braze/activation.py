"""Puts a changed setting in force: at once, on every process, because all of it is in the database."""

from typing import Any

from integrations.braze import ledger
from integrations.braze.integration import NAME, BrazeIntegration
from integrations.braze.models import BrazeState
from integrations.braze.models.account import settings_changed
from integrations.outbox import lease, nudge, subscriptions


def connect() -> None:
    settings_changed.connect(put_in_force, dispatch_uid="braze.put_in_force")


def put_in_force(account_id: int, **_: Any) -> None:
    """Subscribe anew, resume a paused account, and take back requests composed under the old settings."""
    lease.revoke(account_id, NAME)  # a relay at work under the old settings must not commit what it composed
    subscriptions.refresh(BrazeIntegration(), account_id)
    BrazeState.objects.update_or_create(
        account_id=account_id,
        defaults={"paused_at": None, "pause_reason": "", "backoff_until": None, "failures": 0, "last_error": ""},
    )
    ledger.dissolve_unstarted(account_id)
    nudge.after_commit({account_id})

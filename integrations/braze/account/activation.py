"""Applies changed settings: at once and for every process, because everything they change is in the database."""

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete

from integrations.braze.delivery import ledger
from integrations.braze.integration import NAME, BrazeIntegration
from integrations.braze.models import BrazeProfile, BrazeSettings, BrazeState
from integrations.braze.models.account import PauseKind, settings_changed
from integrations.outbox import lease, nudge, subscriptions


def connect() -> None:
    settings_changed.connect(put_in_force, dispatch_uid="braze.put_in_force")
    post_delete.connect(settings_deleted, sender=BrazeSettings, dispatch_uid="braze.settings_deleted")


def put_in_force(account_id: int, **_: Any) -> None:
    """Subscribe anew, resume a paused account, and take back requests composed under the old settings."""
    lease.establish(account_id, NAME)
    lease.revoke(account_id, NAME)  # what a relay composed under the old settings must not be committed
    _forget_another_workspace(account_id)  # after the lease: a relay's commit locks in that order
    subscriptions.refresh(BrazeIntegration(), account_id)
    BrazeState.objects.get_or_create(account_id=account_id)
    mine = BrazeState.objects.filter(account_id=account_id)
    mine.update(backoff_until=None, failures=0, last_error="")
    # The pause after a restore stays: a command of its own ends it.
    mine.exclude(pause_kind=PauseKind.RESTORED).update(paused_at=None, pause_kind="", pause_reason="")
    ledger.dissolve_unstarted(account_id)
    nudge.after_commit({account_id})


def _forget_another_workspace(account_id: int) -> None:
    """Delete the mirror if the endpoint is another workspace's. A new key alone counts as the same workspace's."""
    endpoint = BrazeSettings.objects.values_list("rest_endpoint", flat=True).get(account_id=account_id)
    state, _ = BrazeState.objects.get_or_create(account_id=account_id)
    if endpoint and state.mirrored_endpoint not in ("", endpoint):
        forget_mirror(account_id)
    BrazeState.objects.filter(pk=state.pk).update(mirrored_endpoint=endpoint or state.mirrored_endpoint)


def keep_mirror(account_id: int, endpoint: str) -> None:
    """Call before saving another key or endpoint of the *same* workspace: Braze still holds what it held."""
    lease.revoke(account_id, NAME)
    BrazeState.objects.get_or_create(account_id=account_id)
    BrazeState.objects.filter(account_id=account_id).exclude(mirrored_endpoint="").update(mirrored_endpoint=endpoint)


@transaction.atomic
def forget_mirror(account_id: int) -> None:
    """Call after saving a key of another workspace, which holds nothing of ours yet."""
    profiles = BrazeProfile.objects.filter(account_id=account_id)
    # Locked in the order of ids, as others lock them: a deadlock would end the save. There may be a million.
    for _ in profiles.order_by("pk").select_for_update().values_list("pk").iterator():
        pass
    profiles.delete()


def settings_deleted(instance: BrazeSettings, **_: Any) -> None:
    """Stop capturing and sending. What was captured stays pending, in case the account gets settings again."""
    lease.revoke(instance.account_id, NAME)
    subscriptions.refresh(BrazeIntegration(), instance.account_id)
    ledger.dissolve_unstarted(instance.account_id)

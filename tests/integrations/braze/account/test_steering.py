"""A person pauses an account, resumes it, and has it tried at once."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from integrations.braze.account import steering
from integrations.braze.composing import relay
from integrations.braze.delivery import flush, readiness
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.braze.recovery import restored
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer

Sync = Callable[[], None]


def test_a_pause_keeps_what_is_captured_and_what_is_ready_until_it_is_resumed(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    relay.relay(account.pk)
    assert Delivery.objects.get().outcome == ""
    steering.pause(account.pk, "anna", "a campaign")
    Customer.objects.create(account=account, external_id="c2", first_name="Bob")
    sync()
    assert sandbox.summary()["profiles"] == 0
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"pending"}
    assert readiness.of(account.pk).detail == "paused by anna: a campaign"
    steering.resume(account.pk)
    sync()
    assert sandbox.summary()["profiles"] == 2


def test_saved_settings_do_not_end_a_persons_pause(account: Account, braze: BrazeSettings) -> None:
    steering.pause(account.pk, "anna")
    braze.save()
    assert readiness.of(account.pk).state == "paused"
    BrazeSettings.objects.update(sync_events=False)
    assert readiness.of(account.pk).detail == "paused by anna"


def test_a_restored_database_does_not_end_a_persons_pause(
    account: Account, braze: BrazeSettings, redis_client: object
) -> None:
    steering.pause(account.pk, "anna")
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason="Lost commits.")
    with pytest.raises(steering.NotResumable, match="braze_restored"):
        steering.resume(account.pk)
    restored.resume(account.pk, database_now())
    assert readiness.of(account.pk).detail == "paused by anna"


def test_a_second_pause_leaves_the_first_ones_name(account: Account, braze: BrazeSettings) -> None:
    assert steering.pause(account.pk, "anna", "a campaign")
    assert not steering.pause(account.pk, "bob")
    assert readiness.of(account.pk).detail == "paused by anna: a campaign"


def test_resuming_tries_again_what_braze_refused(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.REFUSED, pause_reason="No permission.")
    assert steering.resume(account.pk)
    assert readiness.of(account.pk).is_ready


def test_what_is_not_paused_is_left_alone(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(backoff_until=database_now() + timedelta(minutes=1), failures=1, last_error="503")
    assert not steering.resume(account.pk)
    assert readiness.of(account.pk).state == "backing off"


def test_a_backoff_ends_when_it_is_flushed_now(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    BrazeState.objects.update(backoff_until=database_now() + timedelta(minutes=1), failures=3)
    sync()
    assert sandbox.summary()["profiles"] == 0
    steering.flush_now(account.pk)
    assert readiness.of(account.pk).on_probation
    sync()
    assert sandbox.summary()["profiles"] == 1


def test_flushing_now_does_not_resume(account: Account, braze: BrazeSettings) -> None:
    steering.pause(account.pk, "anna")
    with pytest.raises(steering.NotFlushable, match="paused by anna"):
        steering.flush_now(account.pk)
    assert readiness.of(account.pk).state == "paused"
    assert flush.flush(account.pk) == 0

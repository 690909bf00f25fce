"""Clocks of machines may be wrong by an hour; what counts is the database's."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.test_attacks import settle_all

Sync = Callable[[], None]


@pytest.mark.parametrize("save", [BrazeSettings.save, lambda settings: BrazeSettings.objects.update(is_enabled=True)])
def test_settings_saved_by_a_clock_that_is_ahead_keep_no_request_from_being_halved(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    sync: Sync,
    save: Callable[[BrazeSettings], object],
) -> None:
    """Requests looked older than the settings for an hour, so each refused one was composed anew, without end."""
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        save(braze)
    _sync_with_a_culprit(account, sandbox, sync)


def test_requests_of_a_worker_whose_clock_is_behind_are_halved(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    with time_machine.travel(timezone.now() - timedelta(hours=1)):
        _sync_with_a_culprit(account, sandbox, sync)


def _sync_with_a_culprit(account: Account, sandbox: SandboxServer, sync: Sync) -> None:
    for external_id in ("good", "culprit"):
        Customer.objects.create(account=account, external_id=external_id)
    sandbox.faults.add(status=400, contains='"culprit"', times=20)
    settle_all(sync)
    ends = OutboxEntry.objects.values_list("customer_external_id", "status")
    assert dict(ends) == {"good": "delivered", "culprit": "rejected"}

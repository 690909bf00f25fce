"""A change overtakes what is on its way: settings, and deletions, count for what has not left."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.braze.composing import records, relay
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts

Sync = Callable[[], None]


def test_a_changed_setting_takes_back_what_has_not_left(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    relay.relay(account.pk)
    braze.sync_purchases = False
    braze.save()
    assert Delivery.objects.get().outcome == "dissolved"
    assert counts() == {"pending": 4}
    sync()
    assert sandbox.summary()["purchases"] == 0
    assert counts() == {"delivered": 2, "skipped": 2}


def test_a_relay_at_work_under_old_settings_commits_nothing(
    account: Account, braze: BrazeSettings, change: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = records.load

    def load_and_be_overtaken(*arguments: Any) -> Any:
        loaded = load(*arguments)
        BrazeSettings.objects.update(sync_events=False)
        return loaded

    monkeypatch.setattr(records, "load", load_and_be_overtaken)
    relay.relay(account.pk)
    assert Delivery.objects.count() == 0
    assert counts() == {"pending": 4}


def test_a_customer_deleted_while_a_request_is_composed_is_not_in_it(
    account: Account, change: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = records.load

    def load_and_delete(*arguments: Any) -> Any:
        loaded = load(*arguments)
        if change.pk:
            change.delete()
        return loaded

    monkeypatch.setattr(records, "load", load_and_delete)
    relay.relay(account.pk)
    assert set(Delivery.objects.values_list("endpoint", flat=True)) == {"delete"}

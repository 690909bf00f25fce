"""What Braze answers decides what becomes of a request; nothing is lost, and a person is told what to correct."""

import logging
from collections.abc import Callable

import pytest

from integrations.braze.delivery import client, readiness
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import counts, forget_backoff

Sync = Callable[[], None]


@pytest.mark.parametrize("status", [500, 502, 503])
def test_it_sends_again_what_braze_could_not_take(
    change: Customer, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    sandbox.faults.add(status=status, times=1)
    sync()
    assert counts() == {"pending": 4}
    assert Delivery.objects.get().outcome == "retry"
    forget_backoff()
    sync()
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}


@pytest.mark.parametrize("status", [401, 403, 404, 415, 302])
def test_it_pauses_the_account_for_what_a_person_has_to_mend(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync, status: int
) -> None:
    sandbox.faults.add(status=status)
    sync()
    assert counts() == {"pending": 4}
    ready = readiness.of(account.pk)
    assert ready.state == "paused"
    assert f"Braze answered {status}" in ready.detail
    sync()
    assert Delivery.objects.filter(started_at__isnull=False).count() == 1
    sandbox.faults.clear()
    braze.save()
    sync()
    assert counts() == {"delivered": 4}
    assert sandbox.summary()["revenue"] == {"USD": "29.33"}


def test_braze_s_words_about_a_wrong_key_do_not_repeat_it(
    account: Account, braze: BrazeSettings, change: Customer, sync: Sync, caplog: pytest.LogCaptureFixture
) -> None:
    BrazeSettings.objects.update(api_key="invalid")
    with caplog.at_level(logging.DEBUG):
        sync()
    assert readiness.of(account.pk).detail.startswith("Braze answered 401: Invalid API key: [key] (the key is wrong")
    assert "[key]" in Delivery.objects.get().answer


def test_a_refused_connection_costs_nothing_but_time(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.stop()
    sync()
    assert counts() == {"pending": 4}
    assert Delivery.objects.get().outcome == "retry"
    assert BrazeState.objects.get().failures == 1


def test_a_count_of_braze_s_that_does_not_add_up_is_told_and_decides_nothing(
    change: Customer, sync: Sync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    body = b'{"message":"success","attributes_processed":1,"events_processed":0,"purchases_processed":2}'
    monkeypatch.setattr(client, "post", lambda *arguments: client.Answer(201, body))
    sync()
    assert counts() == {"delivered": 4}
    words = "Braze counted 0 events and 0 errors of 1 sent."
    assert Delivery.objects.get().answer.startswith(words)
    assert words in caplog.text

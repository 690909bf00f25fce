"""The contents of requests are kept for some days, or not at all; what waits for a decision stays."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from integrations.braze.erasure import payloads
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event

pytestmark = pytest.mark.made_up

Sync = Callable[[], None]


@pytest.fixture
def requests(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> dict[str, Delivery]:
    """One that was accepted, one with a refused event, and one that is not settled."""
    BrazeSettings.objects.update(unknown_events="hold")
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    Event.objects.create(account=account, customer=one, type="POISON")
    sandbox.faults.add(status=400, contains="POISON")
    sync()
    sandbox.faults.clear()
    body = bytes(Delivery.objects.get(outcome="accepted").body)
    Delivery.objects.create(account=account, endpoint="track", started_at=database_now(), body=body)
    return {delivery.outcome: delivery for delivery in Delivery.objects.all()}


def kept() -> set[str]:
    return set(Delivery.objects.exclude(body=b"").values_list("outcome", flat=True))


def age(days: float) -> None:
    Delivery.objects.filter(finished_at__isnull=False).update(finished_at=database_now() - timedelta(days=days))


def test_a_body_is_emptied_after_the_days_that_are_set(requests: dict[str, Delivery], settings: Any) -> None:
    age(6.9)
    assert payloads.forget_old() == 0
    age(7.1)
    settings.BRAZE_PAYLOAD_DAYS = 8
    assert payloads.forget_old() == 0
    settings.BRAZE_PAYLOAD_DAYS = 7
    assert payloads.forget_old() == 1
    assert kept() == {"", "refused"}
    row = Delivery.objects.get(outcome="accepted")
    assert (row.attributes, row.bytes) == (requests["accepted"].attributes, requests["accepted"].bytes)


def test_what_was_refused_is_kept_until_it_is_decided(requests: dict[str, Delivery]) -> None:
    age(8)
    payloads.forget_old()
    assert "refused" in kept()
    resolution.discard(OutboxEntry.objects.filter(status="rejected"), "anna", "a test")
    payloads.forget_old()
    assert kept() == {""}


def test_it_works_in_batches(requests: dict[str, Delivery], account: Account, monkeypatch: Any) -> None:
    monkeypatch.setattr(payloads, "BATCH", 2)
    for _ in range(5):
        Delivery.objects.create(
            account=account, endpoint="track", finished_at=database_now(), body=b"x", outcome="retry"
        )
    age(8)
    assert payloads.forget_old() == 6


def test_nothing_is_kept_where_the_days_are_none(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    settings.BRAZE_PAYLOAD_DAYS = 0
    with django_capture_on_commit_callbacks(execute=True):
        one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
        sync()
    assert sandbox.profile("c1") is not None
    assert kept() == set()
    sandbox.faults.add(status=400, contains="POISON")
    with django_capture_on_commit_callbacks(execute=True):
        Event.objects.create(account=account, customer=one, type="POISON")
        Event.objects.create(account=account, customer=one, type="FINE")
        sync()
    refused = OutboxEntry.objects.get(status="rejected")
    assert list(Delivery.objects.exclude(body=b"").values_list("pk", flat=True)) == [refused.batch]

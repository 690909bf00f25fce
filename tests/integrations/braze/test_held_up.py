"""A request that Braze does not answer holds up its own customers, and nobody else."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from dev.waiting import wait_until
from integrations.braze import flush, relay
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("slice_seconds", [5.0, 0.1])
def test_a_request_without_an_answer_holds_up_no_other(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    slice_seconds: float,
) -> None:
    """Nor past the end of the slice, where the thread has to stay for that answer anyway."""
    monkeypatch.setattr(flush, "SLICE_SECONDS", slice_seconds)
    monkeypatch.setattr(flush, "HELD_UP_SECONDS", 0.0)
    sandbox.faults.add(latency=5.0, times=1)
    Customer.objects.create(account=account, external_id="slow")
    relay.relay(account.pk)
    with ThreadPoolExecutor(1) as pool:
        begun, flushing = time.monotonic(), pool.submit(flush_and_close, account.pk)
        wait_until(Delivery.objects.filter(started_at__isnull=False).exists, "the first request")
        wait_until(lambda: time.monotonic() > min(begun + slice_seconds, begun + 0.5), "the end of the short slice")
        Customer.objects.create(account=account, external_id="quick")
        relay.relay(account.pk)
        wait_until(OutboxEntry.objects.filter(customer_external_id="quick", status="delivered").exists, "the second")
        assert OutboxEntry.objects.get(customer_external_id="slow").status == "buffered"
        assert flushing.result() == 2


def flush_and_close(account_id: int) -> int:
    try:
        return flush.flush(account_id)
    finally:
        connection.close()

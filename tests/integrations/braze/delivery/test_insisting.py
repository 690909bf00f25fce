"""What the database does not take for a while is kept by the process that knows it, and called unknown by nobody."""

from datetime import timedelta
from threading import Event as Signal
from unittest import mock

import pytest
from django.db import OperationalError, connection, transaction

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, insisting, ledger, settlement, silent
from integrations.braze.delivery.connection import client
from integrations.braze.models import Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import started
from tests.integrations.braze.fates import Sync


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_an_answer_that_the_database_does_not_take_is_kept_past_the_deadline(
    account: Account, change: Customer, sandbox: SandboxServer
) -> None:
    """As while its disk is full, or somebody has the changes locked for longer than the role waits for locks."""
    relay.relay(account.pk)
    (request,) = Delivery.objects.values_list("pk", flat=True)
    is_locked, is_over = Signal(), Signal()

    @transaction.atomic
    def look_at_changes() -> None:
        list(OutboxEntry.objects.select_for_update())
        is_locked.set()
        is_over.wait(30)

    def send() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout TO '50ms'")
        flush.flush(account.pk)

    try:
        somebody = started(look_at_changes)
        is_locked.wait(30)
        sending = started(send)
        wait_until(lambda: sandbox.summary()["events"] == 1, "the request to arrive")
        client().zadd(f"braze:{{{account.pk}}}:flight", {str(request): 1})  # its claim runs out …
        Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))  # … and it is overdue
        wait_until(lambda: buffer.claimed(account.pk, [request]) == {request}, "its claim to be prolonged")
        silent.settle()
        assert Delivery.objects.get().outcome == ""
    finally:
        is_over.set()
        somebody.join()
        sending.join()
    assert Delivery.objects.get().outcome == "accepted"
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}
    assert buffer.claimed(account.pk, [request]) == set()


def test_it_is_insisted_for_longer_than_a_request_takes_to_count_as_silent() -> None:
    assert 2 * ledger.SILENT_AFTER.total_seconds() < insisting.INSIST_SECONDS


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_the_database_does_not_take_in_time_is_unknown_once_it_is_well(
    account: Account, change: Customer, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account's policies decide then, as by default: attributes and events are sent again, purchases are held."""
    relay.relay(account.pk)
    with monkeypatch.context() as ill:
        full = mock.Mock(side_effect=OperationalError("could not extend file: No space left on device"))
        ill.setattr(settlement, "settle_all", full)
        ill.setattr(insisting, "INSIST_SECONDS", 0.1)
        ill.setattr(insisting, "RETRY_SECONDS", 0.05)
        with pytest.raises(OperationalError):
            flush.flush(account.pk)
    assert full.call_count > 1
    assert buffer.claimed(account.pk, list(Delivery.objects.values_list("pk", flat=True))) == set()
    Delivery.objects.update(deadline=database_now() - timedelta(seconds=1))
    silent.settle()
    sync()
    found = OutboxEntry.objects.order_by("pk").values_list("kind", "status")
    assert dict(found) == {
        "customer_created": "delivered", "event": "delivered", "order": "unknown", "order_line": "unknown",
    }  # fmt: skip
    assert (sandbox.summary()["events"], sandbox.summary()["purchases"]) == (2, 2)

"""Records made after a backup, and imported again once it was restored: they are new to the product, not to Braze."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from integrations.braze.models import BrazePurchase, BrazeSettings
from integrations.braze.recovery import resolution, restored
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.importing.apply import apply_records
from masivo_braze.loyalty.importing.records import CustomerRecord, EventRecord, OrderRecord
from masivo_braze.loyalty.models import Account, Customer, Event, Order
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import reverse
from tests.integrations.braze.recovery.test_restored import lost_afterwards

RECORDS = [
    CustomerRecord(1, "c1", {}),
    EventRecord(2, UUID("7b8f7f4e-5f0e-4a55-9a53-0d3a2f7f1c11"), "c1", {"type": "LOGIN"}),
    OrderRecord(3, "o1", "c1", {"status": "FULFILLED"}, ({"position": 1, "sku": "CD", "value": 10},)),
]


def bring(account: Account) -> None:
    problems: list[Any] = []
    apply_records(account, RECORDS, lambda *problem: problems.append(problem))
    assert problems == []


@pytest.fixture
def restored_account(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Account:
    """Its database has lost the records, and all that tells that they were sent; nobody has noticed so far."""
    Customer.objects.create(account=account, external_id="c0")
    settle_all(sync)
    with lost_afterwards():
        bring(account)
        settle_all(sync)
    Customer.objects.filter(external_id="c1").delete()
    OutboxEntry.objects.filter(customer_external_id="c1").delete()
    assert not Order.objects.exists() and not Event.objects.exists()
    return account


def go_on(account: Account, sync: Sync) -> None:
    sync()
    restored.resume(account.pk, database_now() - timedelta(minutes=1))
    settle_all(sync)


def test_what_is_imported_before_the_workers_start_is_in_doubt(
    restored_account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    bring(restored_account)
    go_on(restored_account, sync)
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}
    assert BrazePurchase.objects.get().fate == "unknown"
    assert OutboxEntry.objects.get(kind="event").status == "unknown"
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), by="ada")
    reverse(Order.objects.get())
    settle_all(sync)
    assert sandbox.summary()["revenue"] == {"USD": "0.00"}
    assert accounting.check(restored_account.pk) == []


def test_what_is_imported_with_its_toggles_off_is_not_sent(
    restored_account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    go_on(restored_account, sync)
    switch(sync_purchases=False, sync_events=False)
    bring(restored_account)
    settle_all(sync)
    switch(sync_purchases=True, sync_events=True)
    bring(restored_account)  # which changes nothing
    settle_all(sync)
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}
    assert sandbox.summary()["revenue"] == {"USD": "10.00"}


def switch(**toggles: bool) -> None:
    settings = BrazeSettings.objects.get()
    for name, value in toggles.items():
        setattr(settings, name, value)
    settings.save()

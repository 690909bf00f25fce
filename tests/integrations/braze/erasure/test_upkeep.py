"""What is removed in time, and what is demanded of Redis."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection

from integrations.braze import checks, tasks
from integrations.braze.erasure import retention
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine


def test_it_purges_what_is_settled_and_old_and_keeps_the_rest(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Callable[[], None], monkeypatch: Any
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=1)
    sync()
    sandbox.faults.add(status=400, contains="POISON")
    Customer.objects.create(account=account, external_id="POISON")
    sync()
    assert retention.purge() == 0
    old = database_now() - timedelta(days=31)
    OutboxEntry.objects.update(settled_at=old)
    Delivery.objects.update(finished_at=old)
    assert retention.purge() == 4
    assert OutboxEntry.objects.get().status == "rejected"
    assert Delivery.objects.get().pk == OutboxEntry.objects.get().batch
    assert (BrazePurchase.objects.count(), BrazeProfile.objects.count()) == (1, 1)


def test_the_reason_that_somebody_typed_goes_with_the_change_that_has_it(account: Account) -> None:
    """When its customer is deleted later, nothing leads to it any more."""
    now, user = database_now(), User.objects.create(username="anna")
    old, recent = (
        OutboxEntry.objects.create(account=account, integration="braze", status="discarded", settled_at=now - age)
        for age in (timedelta(days=31), timedelta(days=1))
    )
    for entry in (old, recent):
        LogEntry.objects.log_actions(user.pk, [entry], CHANGE, f"Discarded: {entry.pk} was asked for by Ms Byron")
    assert retention.purge() == 1
    words = dict(LogEntry.objects.values_list("object_id", "change_message"))
    assert words == {
        str(old.pk): "Discarded: removed with the change",
        str(recent.pk): f"Discarded: {recent.pk} was asked for by Ms Byron",
    }


@pytest.mark.parametrize(("set_to", "days"), [(None, 30), (3.0, 3)])
def test_it_keeps_everything_for_thirty_days_or_as_long_as_the_setting_says(
    account: Account, settings: Any, set_to: float | None, days: int
) -> None:
    if set_to:
        settings.BRAZE_RETENTION_DAYS = set_to
    now, hour = database_now(), timedelta(hours=1)
    for age in (timedelta(days=days) - hour, timedelta(days=days) + hour):
        OutboxEntry.objects.create(account=account, integration="braze", status="delivered", settled_at=now - age)
        Delivery.objects.create(account=account, finished_at=now - age)
    assert retention.purge() == 2
    left = OutboxEntry.objects.get().settled_at, Delivery.objects.get().finished_at
    assert left == (now - timedelta(days=days) + hour,) * 2


def test_it_purges_in_small_batches_and_no_more_than_it_was_asked_to(account: Account, monkeypatch: Any) -> None:
    assert 100 <= retention.BATCH <= 1_000
    monkeypatch.setattr(retention, "BATCH", 2)
    old = database_now() - timedelta(days=31)
    for _ in range(7):
        OutboxEntry.objects.create(account=account, integration="braze", status="delivered", settled_at=old)
    sizes: list[int] = []

    def count(execute: Any, sql: str, *arguments: Any) -> Any:
        answer = execute(sql, *arguments)
        if sql.startswith("DELETE"):
            sizes.append(OutboxEntry.objects.count())
        return answer

    with connection.execute_wrapper(count):
        assert retention.purge(most=4) == 4
        assert sizes == [5, 3]
        assert retention.purge() == 3
    assert sizes == [5, 3, 1, 0]


def test_what_cannot_be_purged_keeps_nothing_else_from_it(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    now = database_now()
    OutboxEntry.objects.create(
        account=account, integration="braze", status="delivered", settled_at=now - timedelta(days=31)
    )
    Delivery.objects.create(account=account, finished_at=now - timedelta(days=31))
    recent = Delivery.objects.create(account=account, finished_at=now - timedelta(days=8), body=b"x")

    def refuse(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith('DELETE FROM "outbox_outboxentry"'):
            raise OperationalError("deadlock detected")
        return execute(sql, *arguments)

    with connection.execute_wrapper(refuse):
        tasks.purge()
    assert [(each.pk, bytes(each.body)) for each in Delivery.objects.all()] == [(recent.pk, b"")]
    assert "deadlock detected" in caplog.text


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru"])
def test_it_refuses_a_redis_that_evicts(redis_client: Any, policy: str) -> None:
    assert checks.redis_keeps_its_keys() == []
    redis_client.config_set("maxmemory-policy", policy)
    try:
        (error,) = checks.redis_keeps_its_keys()
        assert error.id == "braze.E001"
        with pytest.raises(SystemExit, match=policy):
            checks.refuse_to_start()
        with pytest.raises(SystemCheckError, match=r"braze\.E001"):
            call_command("check", "--deploy")
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

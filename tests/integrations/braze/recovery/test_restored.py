"""A database that lost commits is noticed before anything is sent again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from django.core.management import CommandError, call_command

from integrations.braze.composing import relay
from integrations.braze.delivery import commits, flush, readiness, sender
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import restored
from integrations.braze.sandbox import SandboxServer
from integrations.outbox import lease
from integrations.outbox.clock import database_now
from integrations.outbox.lease import LeaseLost
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.fates import settle_all

Sync = Callable[[], None]
KEPT = (Delivery, OutboxEntry, BrazePurchase, BrazeProfile, BrazeState)


@contextmanager
def lost_afterwards() -> Iterator[None]:
    """What is done to the ledger inside is undone, as by restoring a backup made before; Redis and Braze go on."""
    backup = {model: list(model.objects.all()) for model in KEPT}
    yield
    for model in KEPT:
        model.objects.all().delete()
        model.objects.bulk_create(backup[model])


@pytest.fixture
def order(account: Account, braze: BrazeSettings) -> Order:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    Event.objects.create(account=account, customer=one, type="LOGIN")
    made = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=made, sku="CD", quantity=1, value=10)
    return made


def test_it_stops_before_it_sends_anything_twice(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    with lost_afterwards():
        sync()
    sync()
    assert sandbox.summary()["requests"]["track"] == 1
    ready = readiness.of(account.pk)
    assert ready.state == "paused"
    assert "braze_restored" in ready.detail


def test_a_request_that_was_ready_in_the_backup_is_not_sent_again(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    """Whether or not anything was composed since: sending alone is reason enough to notice."""
    relay.relay(account.pk)
    with lost_afterwards():
        sync()
    sync()
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}
    assert readiness.of(account.pk).state == "paused"


def test_what_is_sent_is_told_to_redis_before_it_leaves(
    account: Account, order: Order, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies just afterwards leaves enough to notice."""
    relay.relay(account.pk)
    state = BrazeState.objects.get()
    told: list[int] = []
    monkeypatch.setattr(sender, "send", lambda sending: told.append(int(redis_client.get(commits.key(state)))))
    flush.flush(account.pk)
    state.refresh_from_db()
    assert told == [state.commits]
    assert state.commits == 2


def test_redis_counter_is_never_lowered_by_who_comes_late(account: Account, order: Order, redis_client: Any) -> None:
    state = BrazeState.objects.get()
    for number in (5, 3):
        BrazeState.objects.update(commits=number)
        commits.tell_redis(commits.counted(BrazeState.objects.get()))
    assert int(redis_client.get(commits.key(state))) == 5


def test_a_redis_that_cannot_be_told_sends_nothing(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.relay(account.pk)
    with monkeypatch.context() as patch:
        patch.setattr(commits, "tell_redis", mock.Mock(side_effect=redis.ConnectionError))
        with pytest.raises(redis.ConnectionError):
            flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    sync()
    assert sandbox.summary()["requests"]["track"] == 1


def test_settings_do_not_resume_it(account: Account, braze: BrazeSettings, order: Order, sync: Sync) -> None:
    with lost_afterwards():
        sync()
    sync()
    braze.save()
    assert readiness.of(account.pk).state == "paused"


def test_a_person_resumes_it_and_what_is_in_doubt_is_held(
    account: Account, order: Order, sandbox: SandboxServer, sync: Sync
) -> None:
    with lost_afterwards():
        sync()
    sync()
    call_command("braze_restored", since=(database_now() - timedelta(hours=1)).isoformat())
    sync()
    ends = dict(OutboxEntry.objects.values_list("kind", "status"))
    assert ends == {"customer_created": "delivered", "event": "unknown", "order": "unknown", "order_line": "unknown"}
    assert sandbox.summary()["duplicates"] == {"event_id": 0, "purchase_id": 0}
    assert readiness.of(account.pk).state == "healthy"
    Event.objects.create(account=account, customer=order.customer, type="LATER")
    sync()
    assert sandbox.summary()["events"] == 2


def test_what_waited_is_held_from_now_on_and_for_this_reason_alone(account: Account, order: Order, sync: Sync) -> None:
    """It was neither refused before, nor does it go on waiting for anything."""
    with lost_afterwards():
        sync()
    sync()
    waiting = OutboxEntry.objects.filter(status="pending", kind__in=["event", "order", "order_line"])
    waiting.update(parked=True, due_at=database_now())
    begun = database_now()
    restored.resume(account.pk, begun)
    held = OutboxEntry.objects.filter(status="unknown")
    assert held.count() == 3
    for entry in held:
        assert entry.error.endswith("this may have been sent since.")
        assert entry.settled_at and entry.settled_at >= begun
        assert (entry.parked, entry.due_at) == (False, None)


def test_a_redis_that_is_behind_means_nothing(account: Account, order: Order, sync: Sync, redis_client: Any) -> None:
    sync()
    redis_client.flushall()
    Event.objects.create(account=account, customer=order.customer, type="LATER")
    sync()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"delivered"}


def test_the_command_says_what_is_wrong_with_its_arguments(account: Account, braze: BrazeSettings) -> None:
    with pytest.raises(CommandError, match="is not a time"):
        call_command("braze_restored", since="yesterday")
    with pytest.raises(CommandError, match="No account is paused"):
        call_command("braze_restored", since="2025-11-23T09:30:00Z")
    with pytest.raises(CommandError, match="There is no account “shpo”"):
        call_command("braze_restored", since="2025-11-23T09:30:00Z", account="shpo")
    with pytest.raises(CommandError, match="shop is not paused because of a restored database"):
        call_command("braze_restored", since="2025-11-23T09:30:00Z", account="shop")


@pytest.mark.parametrize("no_time", ["2026-13-45T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_command_refuses_a_time_that_no_calendar_has(account: Account, braze: BrazeSettings, no_time: str) -> None:
    with pytest.raises(CommandError, match="is not a time"):
        call_command("braze_restored", since=no_time)


def test_the_command_refuses_a_time_that_is_still_to_come(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind="restored", pause_reason="Lost.")
    with pytest.raises(CommandError, match="is still to come"):
        call_command("braze_restored", since=(database_now() + timedelta(minutes=1)).isoformat())
    assert BrazeState.objects.get().paused_at


def test_what_is_held_names_the_time_of_the_backup_in_utc(account: Account, order: Order, sync: Sync) -> None:
    with lost_afterwards():
        sync()
    sync()
    call_command("braze_restored", since="2025-11-23T09:30:00+05:00", account="shop")
    assert "restored to 2025-11-23 04:30 UTC:" in OutboxEntry.objects.get(kind="event").error


def test_whatever_the_time_of_the_backup_what_was_open_when_the_loss_was_noticed_is_held(
    account: Account, order: Order, sync: Sync
) -> None:
    """As its help says: sending may have begun long after a change was captured."""
    with lost_afterwards():
        sync()
    sync()
    call_command("braze_restored", since=database_now().isoformat())
    assert OutboxEntry.objects.get(kind="event").status == "unknown"


def test_what_is_held_has_ended_with_one_reason(account: Account, order: Order, sync: Sync) -> None:
    with lost_afterwards():
        sync()
    sync()
    call_command("braze_restored", since="2025-11-23T09:30:00Z")
    held = OutboxEntry.objects.filter(status="unknown")
    assert held.count() == 3
    assert not held.filter(settled_at=None).exists()
    words = "The database was restored to 2025-11-23 09:30 UTC: this may have been sent since."
    assert set(held.values_list("error", flat=True)) == {words}


def test_a_relay_that_began_before_it_commits_nothing_after_it(account: Account, order: Order, sync: Sync) -> None:
    with lost_afterwards():
        sync()
    sync()
    with lease.hold(account.pk, "braze", relay.LEASE) as held:
        call_command("braze_restored", since=database_now().isoformat())
        assert held is not None
        with pytest.raises(LeaseLost):
            held.confirm()


def test_what_was_open_in_a_backup_is_held_with_the_time_of_the_backup(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    """Captured before the backup and sent after it: the dangerous ones."""
    Event.objects.create(account=account, customer=one, type="LOGIN")
    with lost_afterwards():
        sync()
    backup_taken = database_now()
    sync()
    restored.resume(account.pk, backup_taken)
    settle_all(sync, 2)
    assert OutboxEntry.objects.get(kind="event").status == "unknown"
    assert sandbox.summary()["duplicates"]["event_id"] == 0

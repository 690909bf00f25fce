"""Capturing everything an account has: nothing twice, on where it was cut off, and nobody is kept from anything."""

from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings as django_settings

from integrations.braze import tasks
from integrations.braze.erasure import retention
from integrations.braze.models import Backfill, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import backfill
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.integrations.braze.commands import refused, run
from tests.integrations.braze.fates import Sync


@pytest.fixture
def history(account: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Records from before Braze was switched on, of which two make a chunk, and one chunk a slice."""
    monkeypatch.setattr(backfill, "CHUNK", 2)
    people = [Customer.objects.create(account=account, external_id=name) for name in ("Ada", "Bea", "Cy")]
    for number in range(3):
        Event.objects.create(account=account, customer=people[number], type="SEEN")
        Order.objects.create(account=account, customer=people[number], order_id=str(number), status="FULFILLED")
    Audience.objects.create(account=account, name="Club").customers.add(*people)
    return account


def captured() -> dict[str, int]:
    kinds = list(OutboxEntry.objects.values_list("kind", flat=True))
    return {kind: kinds.count(kind) for kind in kinds}


EVERYTHING = {"customer_created": 3, "event": 3, "order": 3, "audience_joined": 3}


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The accounts of the messages that tasks have published."""
    published: list[int] = []
    monkeypatch.setattr(tasks.backfill, "apply_async", lambda args, **_: published.extend(args))
    return published


def test_each_message_is_a_slice_and_the_last_one_has_no_successor(
    history: Account, braze: BrazeSettings, messages: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "SLICE_SECONDS", 0)
    backfill.begin(history.pk)
    messages.append(history.pk)
    slices = 0
    while messages:
        tasks.backfill(messages.pop())
        slices += 1
        assert len(messages) <= 1
        assert slices < 20
    assert captured() == EVERYTHING
    assert slices > 8
    assert not Backfill.objects.exists()


def test_one_that_was_cut_off_goes_on_where_it_was(history: Account, braze: BrazeSettings, messages: list[int]) -> None:
    """A worker has gone, and its message with it: the tick finds what is left."""
    backfill.begin(history.pk)
    for _ in range(3):
        backfill._go_on(history.pk)
    assert captured() == {"customer_created": 3, "event": 2}
    tasks.backfills()
    assert messages == []  # somebody was at it just now
    Backfill.objects.update(moved_at=database_now() - 2 * backfill.LEFT_ALONE)
    tasks.backfills()
    assert messages == [history.pk]
    tasks.backfill(history.pk)
    assert captured() == EVERYTHING
    assert not Backfill.objects.exists()


def test_another_one_begins_from_the_first_record(history: Account, braze: BrazeSettings) -> None:
    backfill.begin(history.pk)
    backfill._go_on(history.pk)
    OutboxEntry.objects.all().delete()
    backfill.begin(history.pk)
    assert not backfill.work_off(history.pk)
    assert captured() == EVERYTHING


def test_one_of_an_account_without_settings_ends(history: Account, messages: list[int]) -> None:
    backfill.begin(history.pk)
    tasks.backfill(history.pk)
    assert (captured(), messages, Backfill.objects.count()) == ({}, [], 0)


def test_events_are_left_out_from_the_moment_on_in_which_old_ones_are_purged(
    history: Account, braze: BrazeSettings
) -> None:
    BrazeState.objects.get_or_create(account=history)
    backfill.begin(history.pk)
    for _ in range(3):
        backfill._go_on(history.pk)
    BrazeState.objects.update(purged_at=database_now())
    steps = []
    while step := backfill._go_on(history.pk):
        steps.append(step)
    assert steps[0].name.startswith("events (left out")
    assert captured() == EVERYTHING | {"event": 2}


def test_what_is_purged_is_said_to_be_before_it_is(
    history: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that ends in between has lost no events that a backfill would take for unsent."""
    BrazeState.objects.get_or_create(account=history)
    list(backfill.backfill(history.pk))
    OutboxEntry.objects.update(status="delivered", settled_at="2020-01-01T00:00:00Z")

    def end(*_: object) -> int:
        raise SystemExit

    monkeypatch.setattr(retention, "_delete", end)
    with pytest.raises(SystemExit):
        retention.purge()
    assert BrazeState.objects.get().purged_at is not None


def test_what_is_purged_of_others_keeps_no_event_from_being_captured(history: Account, braze: BrazeSettings) -> None:
    """Nor does what is purged of other kinds: events may have been switched on later than the rest."""
    other = Account.objects.create(name="Other", slug="other")
    for account, kind in ((history, Kind.CUSTOMER_CREATED), (other, Kind.EVENT)):
        OutboxEntry.objects.create(
            account=account, integration="braze", kind=kind, customer_external_id="c1", status="delivered",
            settled_at="2020-01-01T00:00:00Z",
        )  # fmt: skip
    assert retention.purge() == 2
    list(backfill.backfill(history.pk))
    assert captured() == EVERYTHING


def test_one_account_s_progress_says_nothing_of_another_s(history: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Other", slug="other")
    backfill.begin(history.pk)
    assert backfill.progress(other.pk) is None
    assert backfill.progress(history.pk) == backfill.Step("customers", 0, 0)


@pytest.mark.parametrize("name", ["backfill", "backfills", "purge", "scrub"])
def test_what_takes_its_time_has_a_queue_that_no_change_waits_in(name: str) -> None:
    assert django_settings.CELERY_TASK_ROUTES[f"integrations.braze.tasks.{name}"] == {"queue": "upkeep"}


def test_a_backfill_after_a_purge_sends_no_event_twice(
    account: Account, one: Customer, sandbox: SandboxServer, sync: Sync, settings: Any
) -> None:
    Event.objects.create(account=account, customer=one, type="LOGIN")
    sync()
    settings.BRAZE_RETENTION_DAYS = 0
    assert retention.purge() > 0
    assert any("left out" in step.name for step in backfill.backfill(account.pk))
    sync()
    assert sandbox.summary()["duplicates"]["event_id"] == 0


@pytest.fixture
def before(account: Account) -> Account:
    """Records from before Braze was switched on."""
    ada = Customer.objects.create(account=account, external_id="Ada", tags={"vip": True})
    bob = Customer.objects.create(account=account, external_id="Bob")
    for type_ in ("VISIT", "VISIT", "REGISTRATION"):
        Event.objects.create(account=account, customer=ada, type=type_)
    for status_ in ("FULFILLED", "PENDING"):
        order = Order.objects.create(account=account, customer=bob, order_id=status_, status=status_)
        OrderLine.objects.create(order=order, sku="CD", value=Decimal("11.77"))
    Audience.objects.create(account=account, name="Club").customers.add(ada, bob)
    assert not OutboxEntry.objects.exists()
    return account


def test_it_captures_and_sends_what_was_there_before(
    before: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    assert run("braze_backfill", "--account", "shop").splitlines() == [
        "customers: 2 captured of 2",
        "events: 3 captured of 3",
        "fulfilled orders: 1 captured of 1",
        "audience memberships: 2 captured of 2",
    ]
    run("braze_drain")
    held = sandbox.summary()
    assert (held["events"], held["purchases"], held["revenue"]) == (2, 1, {"USD": "11.77"})
    assert sandbox.profile("Ada")["custom_attributes"] == {"tag_vip": True, "masivo_Club": True, "loyalty_points": 0}


def test_it_sends_nothing_twice_when_backfilled_again(
    before: Account, braze: BrazeSettings, sandbox: SandboxServer
) -> None:
    for _ in range(2):
        run("braze_backfill", "--account", "shop")
        run("braze_drain")
    assert Delivery.objects.filter(started_at__isnull=False).count() == 1
    assert sandbox.summary()["events"] == 2
    assert BrazePurchase.objects.count() == 1


def test_it_does_not_capture_again_what_is_still_pending(before: Account, braze: BrazeSettings) -> None:
    run("braze_backfill", "--account", "shop")
    assert "events: 0 captured of 3" in run("braze_backfill", "--account", "shop")


def test_it_captures_an_event_that_was_skipped_once(before: Account, braze: BrazeSettings) -> None:
    run("braze_backfill", "--account", "shop")
    OutboxEntry.objects.filter(kind=Kind.EVENT).update(status=Status.SKIPPED, error="Events is switched off")
    assert "events: 3 captured of 3" in run("braze_backfill", "--account", "shop")


def test_it_captures_by_todays_toggles(before: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(create_customers=False, sync_events=False, sync_purchases=False, sync_audiences=False)
    output = run("braze_backfill", "--account", "shop")
    assert "customers: 1 captured of 2" in output  # the one that has tags
    assert list(OutboxEntry.objects.values_list("customer_external_id", flat=True)) == ["Ada"]


def test_it_reads_in_chunks(before: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "CHUNK", 2)
    assert "events: 3 captured of 3" in run("braze_backfill", "--account", "shop")
    assert OutboxEntry.objects.filter(kind=Kind.EVENT).values("subject").distinct().count() == 3


def test_a_backfill_says_why_it_leaves_events_out(before: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(purged_at=database_now())
    output = run("braze_backfill", "--account", "shop")
    assert "events (left out, since it is no longer known which of the older ones were sent): 0 captured of 3" in output


def test_it_refuses_to_backfill_where_nothing_is_synced(before: Account) -> None:
    BrazeSettings.objects.create(account=before, is_enabled=False, sync_events=True)
    assert "Nothing of shop is synced" in str(refused("braze_backfill", "--account", "shop")[1])
    assert "There is no account “shpo”" in str(refused("braze_backfill", "--account", "shpo")[1])

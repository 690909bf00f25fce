"""Of a deleted customer nothing personal is left, whatever is switched on, and nothing of anybody else is lost."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model

from integrations.braze import tasks
from integrations.braze.composing import relay
from integrations.braze.erasure import erasing, scrubbing
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, DeletedCustomer, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.integrations.braze.connections import started

Sync = Callable[[], None]
#: Whatever of this is found in a table names the person.
PERSONAL = (
    "Augusta", "Lovelace", "augusta@example.com", "+442079460123", "1815-12-10", "Piccadilly", "peanut allergy",
    "a poem of hers", "Ms Byron", "Marylebone",
)  # fmt: skip


@pytest.fixture(autouse=True)
def at_once(settings: Any) -> None:
    """Deletions neither keep a distance nor take time to spread."""
    settings.BRAZE_DELETE_AFTER_SECONDS = settings.BRAZE_DELETE_SETTLES_SECONDS = 0


@pytest.fixture
def augusta(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, settings: Any
) -> Iterator[Customer]:
    """A customer with something in every place where something can be."""
    BrazeSettings.objects.update(unknown_events="hold")
    one = Customer.objects.create(
        account=account, external_id="c1", first_name="Augusta", last_name="Lovelace", email="augusta@example.com",
        phone="+442079460123", birth_date="1815-12-10", city="Piccadilly", tags={"diet": "peanut allergy"},
    )  # fmt: skip
    Customer.objects.create(account=account, external_id="c2", first_name="Charles", city="Bloomsbury")
    Audience.objects.create(account=account, name="Readers").customers.add(one)
    sandbox.faults.add(status=500, times=1, message="We could not store Augusta")
    sync()
    go_on(sync)
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED", store="Strand")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=9, data={"gift_card": "Ms Byron"})
    Event.objects.create(account=account, customer=one, type="WROTE", data={"what": "a poem of hers"})
    sandbox.faults.add(close="after", times=1)
    sync()
    go_on(sync)
    Event.objects.create(account=account, customer=one, type="POISON", data={"where": "Marylebone"})
    sandbox.faults.add(status=400, contains="POISON", message="No Marylebone, please")
    sync()
    sandbox.faults.clear()
    resolution.discard(OutboxEntry.objects.filter(status="rejected"), "anna", "as Ms Byron wishes")
    Customer.objects.filter(pk=one.pk).update(tags={"kept": "peanut allergy"})
    sync()
    yield one


def go_on(sync: Sync) -> None:
    BrazeState.objects.update(backoff_until=None)
    sync()


def everything() -> str:
    """Every row of every table of the outbox and of Braze, bodies unpacked."""
    return "\n".join(_rows())


def _rows() -> Iterator[str]:
    for label in ("outbox", "braze"):
        for model in apps.get_app_config(label).get_models():
            for row in model._default_manager.values():
                body = row.pop("body", None)
                yield f"{model.__name__} {row} {zlib.decompress(bytes(body)).decode() if body else ''}"


def found() -> set[str]:
    text = everything()
    return {name for name in PERSONAL if name in text}


def delete(customer: Customer, sync: Sync) -> None:
    customer.delete()
    sync()


def left() -> list[str]:
    return [line for line in _rows() if any(name in line for name in PERSONAL)]


def test_nothing_of_a_deleted_customer_is_left_in_any_table(augusta: Customer, account: Account, sync: Sync) -> None:
    assert found() == set(PERSONAL)
    delete(augusta, sync)
    before = [model.objects.count() for model in (OutboxEntry, BrazePurchase, Delivery)]
    assert found() > {"Augusta", "Ms Byron", "peanut allergy"}
    tasks.scrub()
    assert left() == []
    assert [model.objects.count() for model in (OutboxEntry, BrazePurchase, Delivery)] == before
    assert not DeletedCustomer.objects.exists()
    assert accounting.check(account.pk) == []


def test_what_braze_quoted_goes_though_the_payload_that_tells_it_has_gone_before(augusta: Customer, sync: Sync) -> None:
    Delivery.objects.filter(finished_at__isnull=False).update(body=b"")
    assert "Marylebone" in found()
    delete(augusta, sync)
    tasks.scrub()
    assert left() == []
    accepted, *others = (
        set(Delivery.objects.filter(**which).values_list("answer", flat=True))
        for which in ({"outcome": "accepted", "answer": erasing.REMOVED}, {"outcome": "refused"})
    )
    assert (accepted, others) == (set(), [{erasing.REMOVED}])


@pytest.mark.parametrize("off", [{"delete_customers": False}, {"is_enabled": False}, {"api_key": ""}])
def test_nothing_is_left_though_the_deletion_is_not_sent(
    off: dict[str, Any], augusta: Customer, account: Account, braze: BrazeSettings, sync: Sync
) -> None:
    augusta.points = 7
    augusta.save()
    BrazeSettings.objects.update(**off)
    delete(augusta, sync)
    before = [model.objects.count() for model in (BrazePurchase, Delivery)]
    tasks.scrub()
    assert left() == []
    assert [model.objects.count() for model in (BrazePurchase, Delivery)] == before
    assert accounting.check(account.pk) == []


def test_ids_counts_and_prices_stay(augusta: Customer, sync: Sync) -> None:
    purchase = BrazePurchase.objects.get()
    delete(augusta, sync)
    tasks.scrub()
    kept = BrazePurchase.objects.get()
    assert (kept.purchase_id, kept.price, kept.quantity) == (purchase.purchase_id, purchase.price, purchase.quantity)
    assert kept.properties == {"store": "Strand"}
    entries = OutboxEntry.objects.filter(customer_external_id="c1", kind="order_line")
    assert {entry.data["order_id"] for entry in entries} == {"o1"}
    assert BrazeProfile.objects.get(external_id="c1").attributes == {}


def test_what_is_kept_of_others_in_the_same_requests_stays(augusta: Customer, sync: Sync) -> None:
    delete(augusta, sync)
    tasks.scrub()
    bodies = [delivery.payload for delivery in Delivery.objects.exclude(body=b"")]
    shared = next(body for body in bodies if any(item["external_id"] == "c2" for item in body.get("attributes", [])))
    assert {"external_id": "c1", "removed": "the customer was deleted"} in shared["attributes"]
    assert "Charles" in everything()
    assert BrazeProfile.objects.get(external_id="c2").attributes["home_city"] == "Bloomsbury"


def test_a_customer_created_again_is_left_alone(
    augusta: Customer, account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    delete(augusta, sync)
    Customer.objects.create(account=account, external_id="c1", first_name="Augusta Ada")
    sandbox.faults.add(status=500, times=1)
    sync()
    go_on(sync)
    latest = OutboxEntry.objects.order_by("pk").last()
    assert latest is not None
    OutboxEntry.objects.filter(pk=latest.pk).update(adjustments=["a new life"])
    tasks.scrub()
    assert OutboxEntry.objects.get(pk=latest.pk).adjustments == ["a new life"]
    assert BrazeProfile.objects.get(external_id="c1").attributes["first_name"] == "Augusta Ada"
    assert len([delivery for delivery in Delivery.objects.all() if b"Augusta Ada" in _unpacked(delivery)]) == 2
    assert found() == {"Augusta"}


def _unpacked(delivery: Delivery) -> bytes:
    return zlib.decompress(bytes(delivery.body)) if delivery.body else b""


def test_purchases_are_scrubbed_though_another_customer_has_an_order_of_that_number(
    augusta: Customer, account: Account, sync: Sync
) -> None:
    delete(augusta, sync)
    Order.objects.create(account=account, customer=Customer.objects.get(external_id="c2"), order_id="o1")
    tasks.scrub()
    assert left() == []


def test_purchases_of_an_order_that_was_made_again_for_its_customer_are_left_alone(
    augusta: Customer, account: Account, sync: Sync
) -> None:
    delete(augusta, sync)
    again = Customer.objects.create(account=account, external_id="c1")
    Order.objects.create(account=account, customer=again, order_id="o1")
    tasks.scrub()
    assert BrazePurchase.objects.get().properties["gift_card"] == "Ms Byron"


def test_another_accounts_customer_of_the_same_id_is_left_alone(augusta: Customer, sync: Sync) -> None:
    other = Account.objects.create(name="Other", slug="other")
    OutboxEntry.objects.create(
        account=other, integration="braze", kind="event", customer_external_id="c1", data={"note": "Ms Byron"},
        status="delivered",
    )  # fmt: skip
    delete(augusta, sync)
    tasks.scrub()
    assert OutboxEntry.objects.get(account=other).data == {"note": "Ms Byron"}


def test_what_is_on_its_way_arrives_and_is_scrubbed_then(
    augusta: Customer, account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    BrazeSettings.objects.update(delete_customers=False)
    augusta.city = "Marylebone"
    augusta.save()
    relay.relay(account.pk)
    augusta.delete()
    tasks.scrub()
    (open_request,) = Delivery.objects.filter(finished_at=None)
    assert open_request.payload["attributes"][0]["home_city"] == "Marylebone"
    sync()
    assert sandbox.profile("c1")["standard_attributes"]["home_city"] == "Marylebone"
    tasks.scrub()
    assert left() == []
    assert not DeletedCustomer.objects.exists()


def test_a_deletion_that_braze_does_not_take_yet_stays_on_its_way(
    augusta: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=500, endpoint="delete", times=1)
    delete(augusta, sync)
    tasks.scrub()
    assert left() == []
    assert OutboxEntry.objects.get(kind="customer_deleted").status == "pending"
    go_on(sync)
    assert sandbox.profile("c1") is None
    assert OutboxEntry.objects.get(kind="customer_deleted").status == "delivered"


def test_why_braze_refused_a_deletion_can_still_be_read(augusta: Customer, sandbox: SandboxServer, sync: Sync) -> None:
    sandbox.faults.add(status=400, endpoint="delete", times=9, message="No deletions today")
    delete(augusta, sync)
    tasks.scrub()
    assert "No deletions today" in OutboxEntry.objects.get(kind="customer_deleted").error


def test_braze_is_rid_of_the_old_tags_of_a_customer_created_again(
    augusta: Customer, account: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    """Braze still has the user where deletions are not sent: what it holds of the deleted customer must not stay."""
    BrazeSettings.objects.update(delete_customers=False)
    assert _custom(sandbox)["tag_kept"] == "peanut allergy"
    delete(augusta, sync)
    tasks.scrub()
    assert left() == []
    Customer.objects.create(account=account, external_id="c1", first_name="Ada", tags={"new": 1})
    sync()
    assert _custom(sandbox) == {"tag_new": 1}
    assert sandbox.profile("c1")["standard_attributes"]["first_name"] == "Ada"
    assert sandbox.profile("c1")["standard_attributes"].get("phone") is None


def _custom(sandbox: SandboxServer) -> dict[str, Any]:
    held: dict[str, Any] = sandbox.profile("c1")["custom_attributes"]
    return {name: value for name, value in held.items() if name.startswith("tag_")}


def test_held_and_refused_changes_can_still_be_decided_about(augusta: Customer, account: Account, sync: Sync) -> None:
    BrazeSettings.objects.update(delete_customers=False)
    Event.objects.create(account=account, customer=augusta, type="LATE", data={"what": "a poem of hers"})
    sync()
    OutboxEntry.objects.filter(kind__in=["order", "order_line"]).update(status="unknown", error="time-out for Augusta")
    BrazePurchase.objects.update(fate="unknown", error="time-out for Augusta")
    OutboxEntry.objects.filter(subject=Event.objects.get(type="LATE").pk).update(status="rejected", error="Ms Byron")
    delete(augusta, sync)
    tasks.scrub()
    assert left() == []
    resolution.treat_as_delivered(OutboxEntry.objects.filter(status="unknown"), "anna")
    assert BrazePurchase.objects.get().fate == "delivered"
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    sync()
    assert OutboxEntry.objects.filter(status="skipped", error="the event is no longer there").exists()
    assert accounting.check(account.pk) == []


def test_the_reason_that_somebody_typed_goes_from_the_history(augusta: Customer, sync: Sync) -> None:
    user = User.objects.create(username="anna")
    entry = OutboxEntry.objects.get(status="discarded")
    LogEntry.objects.log_actions(user.pk, [entry], CHANGE, "Discarded: as Ms Byron wishes")
    LogEntry.objects.log_actions(user.pk, [augusta], CHANGE, "Discarded: somebody else's")
    delete(augusta, sync)
    tasks.scrub()
    words = set(LogEntry.objects.values_list("change_message", flat=True))
    assert words == {f"Discarded: {erasing.REMOVED}", "Discarded: somebody else's"}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", [OutboxEntry, Delivery, BrazePurchase, BrazeProfile])
def test_what_is_locked_is_not_waited_for_and_scrubbed_by_a_later_tick(
    augusta: Customer, account: Account, sync: Sync, model: type[Model]
) -> None:
    """A transaction that takes its time, such as an import that deletes a customer created again with the same id."""
    BrazeSettings.objects.update(delete_customers=False)  # so the mirror still holds something
    delete(augusta, sync)
    DeletedCustomer.objects.create(account=account, external_id="m1", last_entry=0)
    with transaction.atomic():
        list(model._default_manager.select_for_update())
        tick = started(tasks.scrub)
        tick.join(10)
        assert not tick.is_alive()
    assert left()
    assert DeletedCustomer.objects.get().external_id == "c1"  # of the other, nothing was locked
    tasks.scrub()
    assert left() == []
    assert not DeletedCustomer.objects.exists()


def test_an_account_that_cannot_be_scrubbed_holds_up_no_other(
    account: Account, braze: BrazeSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Account.objects.create(name="Other", slug="other")
    for each in (account, other):
        DeletedCustomer.objects.create(account=each, external_id="c1", last_entry=0)
    erase = erasing.erase

    def break_down(account_id: int, customers: erasing.Customers) -> set[str]:
        if account_id == account.pk:
            raise ValueError("something of this account alone")
        return erase(account_id, customers)

    monkeypatch.setattr(erasing, "erase", break_down)
    assert scrubbing.work_off() == 2
    assert DeletedCustomer.objects.get().account == account
    assert "something of this account alone" in caplog.text


def test_many_are_worked_off_together(
    augusta: Customer, account: Account, sync: Sync, django_assert_max_num_queries: Any
) -> None:
    Customer.objects.bulk_create(
        Customer(account=account, external_id=f"m{number}", first_name="Augusta") for number in range(60)
    )
    sync()
    Customer.objects.all().delete()
    sync()
    with django_assert_max_num_queries(45):
        tasks.scrub()
    assert left() == []


def test_of_an_account_that_never_had_settings_nothing_is_noted(account: Account) -> None:
    customer = Customer.objects.create(account=account, external_id="c1")
    customer.delete()
    assert not DeletedCustomer.objects.exists()


@pytest.mark.parametrize("how", ["one", "many"])
def test_an_account_without_requests_can_be_deleted_with_its_customers(
    how: str, account: Account, braze: BrazeSettings
) -> None:
    Customer.objects.create(account=account, external_id="c1")
    account.delete() if how == "one" else Account.objects.all().delete()
    assert not Account.objects.exists()
    assert not DeletedCustomer.objects.exists()


def test_a_tick_works_them_off(settings: Any) -> None:
    (tick,) = [tick for tick in settings.CELERY_BEAT_SCHEDULE.values() if tick["task"] == tasks.scrub.name]
    assert tick["options"]["expires"] <= 15  # which is the period, as of every tick


def test_a_deletion_undone_is_none(augusta: Customer, sync: Sync) -> None:
    with transaction.atomic():
        augusta.delete()
        transaction.set_rollback(True)
    tasks.scrub()
    assert found() == set(PERSONAL)
    assert scrubbing.work_off() == 0

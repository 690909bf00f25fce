"""Of a customer whose deletion Braze has accepted nothing personal is left, and nothing of anybody else is lost."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from kombu.exceptions import OperationalError

from integrations.braze import resolution, scrubbing, tasks
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

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


def delete(customer: Customer, sync: Sync) -> Delivery:
    customer.delete()
    sync()
    return Delivery.objects.get(endpoint="delete", outcome="accepted")


def test_nothing_of_a_deleted_customer_is_left_in_any_table(augusta: Customer, sync: Sync) -> None:
    assert found() == set(PERSONAL)
    deletion = delete(augusta, sync)
    before = [model.objects.count() for model in (OutboxEntry, BrazePurchase, Delivery)]
    assert found() > {"Augusta", "Ms Byron", "peanut allergy"}
    tasks.scrub(str(deletion.pk))
    assert [line for line in _rows() if any(name in line for name in PERSONAL)] == []
    assert [model.objects.count() for model in (OutboxEntry, BrazePurchase, Delivery)] == before


def test_ids_counts_and_prices_stay(augusta: Customer, sync: Sync) -> None:
    purchase = BrazePurchase.objects.get()
    tasks.scrub(str(delete(augusta, sync).pk))
    kept = BrazePurchase.objects.get()
    assert (kept.purchase_id, kept.price, kept.quantity) == (purchase.purchase_id, purchase.price, purchase.quantity)
    assert kept.properties == {"store": "Strand"}
    entries = OutboxEntry.objects.filter(customer_external_id="c1", kind="order_line")
    assert {entry.data["order_id"] for entry in entries} == {"o1"}
    assert BrazeProfile.objects.get(external_id="c1").attributes == {}


def test_what_is_kept_of_others_in_the_same_requests_stays(augusta: Customer, sync: Sync) -> None:
    tasks.scrub(str(delete(augusta, sync).pk))
    bodies = [delivery.payload for delivery in Delivery.objects.exclude(body=b"")]
    shared = next(body for body in bodies if any(item["external_id"] == "c2" for item in body.get("attributes", [])))
    assert {"external_id": "c1", "removed": "the customer was deleted"} in shared["attributes"]
    assert "Charles" in everything()
    assert BrazeProfile.objects.get(external_id="c2").attributes["home_city"] == "Bloomsbury"


def test_a_customer_created_again_is_left_alone(augusta: Customer, account: Account, sync: Sync) -> None:
    deletion = delete(augusta, sync)
    Customer.objects.create(account=account, external_id="c1", first_name="Augusta Ada")
    sync()
    latest = OutboxEntry.objects.order_by("pk").last()
    assert latest is not None
    OutboxEntry.objects.filter(pk=latest.pk).update(adjustments=["a new life"])
    tasks.scrub(str(deletion.pk))
    assert OutboxEntry.objects.get(pk=latest.pk).adjustments == ["a new life"]
    assert BrazeProfile.objects.get(external_id="c1").attributes["first_name"] == "Augusta Ada"
    (body,) = [delivery.payload for delivery in Delivery.objects.all() if b"Augusta Ada" in _unpacked(delivery)]
    assert body["attributes"][0]["first_name"] == "Augusta Ada"
    assert found() == {"Augusta"}


def _unpacked(delivery: Delivery) -> bytes:
    return zlib.decompress(bytes(delivery.body)) if delivery.body else b""


def test_another_accounts_customer_of_the_same_id_is_left_alone(augusta: Customer, sync: Sync) -> None:
    other = Account.objects.create(name="Other", slug="other")
    OutboxEntry.objects.create(
        account=other, integration="braze", kind="event", customer_external_id="c1", data={"note": "Ms Byron"},
        status="delivered",
    )  # fmt: skip
    tasks.scrub(str(delete(augusta, sync).pk))
    assert OutboxEntry.objects.get(account=other).data == {"note": "Ms Byron"}


def test_settling_a_deletion_starts_it(
    augusta: Customer, sync: Sync, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(tasks.scrub, "apply_async", lambda arguments, **_: asked.append(arguments))
    with django_capture_on_commit_callbacks(execute=True):
        deletion = delete(augusta, sync)
    assert asked == [(str(deletion.pk),)]


def test_a_message_that_is_lost_is_made_up_for(
    augusta: Customer, sync: Sync, monkeypatch: Any, django_capture_on_commit_callbacks: Any
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(tasks.scrub, "apply_async", down)
    with django_capture_on_commit_callbacks(execute=True):
        deletion = delete(augusta, sync)
    assert scrubbing.unfinished() == [deletion.pk]
    tasks.purge()
    assert scrubbing.unfinished() == []
    assert found() == set()


def test_a_deletion_that_braze_did_not_take_scrubs_nothing(
    augusta: Customer, sandbox: SandboxServer, sync: Sync
) -> None:
    sandbox.faults.add(status=500, endpoint="delete", times=1)
    augusta.delete()
    sync()
    (deletion,) = Delivery.objects.filter(endpoint="delete")
    assert scrubbing.scrub(deletion.pk) == 0
    assert scrubbing.unfinished() == []
    assert "Augusta" in found()

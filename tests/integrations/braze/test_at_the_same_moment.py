"""What one process has read, another commits over: on PostgreSQL, where both go on."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from dev.waiting import wait_until
from integrations.braze.account import activation
from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger, profiles, settlement, verdicts
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery
from integrations.braze.recovery import resend, resolution
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Order, OrderLine
from tests.integrations.braze.connections import beside, started, waiting
from tests.integrations.braze.fates import Sync, settle_all
from tests.integrations.braze.orders import fulfilled

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def test_a_doubt_that_a_person_raises_outlives_a_settlement(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Braze has lost the user: the customer's page sends everything again while an edit is being settled."""
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    sandbox.reset()
    one.city = "Rome"
    one.save()
    relay.relay(account.pk)
    mirrored, threads = profiles.mirrored, []

    def read_and_resend(*arguments: Any, **options: Any) -> Any:
        found = mirrored(*arguments, **options)
        threads.append(beside(lambda: resend.resend(one)))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(profiles, "mirrored", read_and_resend)
        flush.flush(account.pk)
    threads[0].join()
    settle_all(sync)
    assert sandbox.profile("c1")["standard_attributes"] == {"first_name": "Ada", "home_city": "Rome"}


def test_another_workspace_keeps_nothing_of_a_settlement_at_work(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    sync()
    one.city = "Rome"
    one.save()
    relay.relay(account.pk)
    mirrored, threads = profiles.mirrored, []

    def read_and_forget(*arguments: Any, **options: Any) -> Any:
        found = mirrored(*arguments, **options)
        threads.append(beside(lambda: activation.forget_mirror(account.pk)))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(profiles, "mirrored", read_and_forget)
        flush.flush(account.pk)
    threads[0].join()
    held = BrazeProfile.objects.filter(account=account).values_list("attributes", flat=True)
    assert not any(held)


@pytest.mark.parametrize("decision", ["send again", "treat as delivered", "discard"])
def test_a_decision_concerns_what_was_open_when_it_was_taken(
    account: Account,
    braze: BrazeSettings,
    sandbox: SandboxServer,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
) -> None:
    """A line was added to an order in doubt: its purchase becomes unknown while somebody decides about the others."""
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=1, value=10)
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    assert BrazePurchase.objects.get().fate == "unknown"
    OrderLine.objects.create(order=order, sku="DVD", quantity=1, value=5)
    relay.relay(account.pk)
    on_its_way = Delivery.objects.get(finished_at=None)
    assert ledger.start(on_its_way.pk)  # and never arrives
    locked, threads = resolution._locked, []

    def lock_and_settle(*arguments: Any) -> Any:
        found = locked(*arguments)
        threads.append(beside(lambda: settlement.settle(on_its_way.pk, verdicts.silent())))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(resolution, "_locked", lock_and_settle)
        chosen = OutboxEntry.objects.filter(status="unknown")
        if decision == "send again":
            resolution.send_again(chosen)
        elif decision == "discard":
            resolution.discard(chosen, by="ada", reason="no")
        else:
            resolution.treat_as_delivered(chosen, by="ada")
    threads[0].join()
    line = OutboxEntry.objects.filter(kind="order_line").latest("pk")
    row = BrazePurchase.objects.get(line=2)
    assert (row.fate, line.status) == ("unknown", "unknown")


def test_a_decision_that_the_database_ends_for_another_s_sake_is_taken_again(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync, admin_client: Client
) -> None:
    """A decision locks the changes of an order one after the other; somebody else has locked the last one first."""
    order = fulfilled(account, Customer.objects.create(account=account, external_id="c1"), ("CD", 10))
    sandbox.faults.add(close="after", times=1)
    settle_all(sync)
    first, last = OutboxEntry.objects.filter(data__order_id=order.order_id).order_by("pk")
    asked = {"action": "treat_as_delivered", "chosen": first.pk, "_selected_action": first.pk}

    def decide() -> None:
        """Whoever looks for a deadlock, once both wait, is ended by it: this is to be the one."""
        connection.cursor().execute("SET deadlock_timeout = '3s'")
        admin_client.post("/admin/braze/failedsync/", asked)

    with transaction.atomic():
        connection.cursor().execute("SET LOCAL deadlock_timeout = '60s'")
        list(OutboxEntry.objects.filter(pk=last.pk).select_for_update())
        thread = started(decide)
        wait_until(waiting, "the decision")
        list(OutboxEntry.objects.filter(pk=first.pk).select_for_update())
    thread.join()
    assert set(OutboxEntry.objects.filter(data__order_id="o1").values_list("status", flat=True)) == {"delivered"}


@pytest.mark.usefixtures("change")
def test_a_request_that_is_started_at_that_moment_is_not_taken_back(account: Account) -> None:
    """It is about to be sent: its changes must not be composed once more."""
    relay.relay(account.pk)
    request = Delivery.objects.get()
    with transaction.atomic():
        assert ledger.start(request.pk)
        taking_back = started(lambda: ledger.dissolve_unstarted(account.pk))
        wait_until(waiting, "the settings that take it back")
    taking_back.join()
    request.refresh_from_db()
    assert (request.finished_at, request.outcome) == (None, "")
    assert set(OutboxEntry.objects.values_list("status", "batch")) == {("buffered", request.pk)}
    assert set(BrazePurchase.objects.values_list("fate", "delivery_id")) == {("buffered", request.pk)}


def test_a_line_added_while_its_order_is_fulfilled_is_sent(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync
) -> None:
    """What the fulfilment captured may have been sent by the time that the line is committed."""
    one = Customer.objects.create(account=account, external_id="c1")
    order = Order.objects.create(account=account, customer=one, order_id="o1")
    OrderLine.objects.create(order=order, position=1, sku="CD", quantity=1, value=10)
    with transaction.atomic():
        Order.objects.update(status="FULFILLED")
        adding = started(lambda: OrderLine.objects.create(order=order, position=2, sku="DVD", quantity=1, value=5))
        wait_until(waiting, "the line")
    adding.join()
    assert list(OutboxEntry.objects.filter(kind="order_line").values_list("data__status", flat=True)) == ["FULFILLED"]
    sync()
    assert sandbox.summary()["revenue"] == {"USD": "15.00"}

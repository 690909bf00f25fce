"""The books balance whatever happens to a change, and an error in any of them is found."""

import uuid
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from threading import Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger, settlement, verdicts
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.recovery import resolution
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

Sync = Callable[[], None]


def ordered(customer: Customer, order_id: str, *values: str, sku: str = "CD") -> Order:
    order = Order.objects.create(account=customer.account, customer=customer, order_id=order_id, status="FULFILLED")
    for value in values:
        OrderLine.objects.create(order=order, sku=sku, quantity=3, value=Decimal(value))
    return order


@pytest.fixture
def shop(account: Account, braze: BrazeSettings, sync: Sync) -> Account:
    """Everything delivered: customers, an event, an order, and one that was reversed."""
    ada = Customer.objects.create(account=account, external_id="Ada")
    Event.objects.create(account=account, customer=ada, type="VISIT")
    ordered(ada, "A-1", "29.33", "10.005")
    reversed_one = ordered(ada, "A-2", "7")
    sync()
    reversed_one.status = "REVERSED"
    reversed_one.save()
    sync()
    assert accounting.check(account.pk) == []
    return account


@pytest.fixture
def on_the_way(shop: Account) -> Account:
    """And a further event and order, composed and not sent."""
    bob = Customer.objects.create(account=shop, external_id="Bob")
    Event.objects.create(account=shop, customer=bob, type="VISIT")
    ordered(bob, "B-1", "5")
    assert relay.relay(shop.pk) == 4
    assert accounting.check(shop.pk) == []
    return shop


# --- they balance ---------------------------------------------------------------------------------------


def test_they_balance_while_a_request_is_composed_started_given_back_and_dissolved(on_the_way: Account) -> None:
    request = Delivery.objects.get(finished_at=None)
    ledger.start(request.pk)
    assert accounting.check(on_the_way.pk) == []
    ledger.give_back([request.pk])
    ledger.dissolve_unstarted(on_the_way.pk)
    assert accounting.check(on_the_way.pk) == []


def test_they_balance_while_a_refused_request_is_halved_and_decided_about(
    shop: Account, sandbox: SandboxServer, sync: Sync
) -> None:
    for number in range(8):
        one = Customer.objects.create(account=shop, external_id=f"c{number}")
        ordered(one, f"C-{number}", "3", sku="POISON" if number == 5 else "CD")
    sandbox.faults.add(status=400, contains="POISON")
    while relay.relay(shop.pk) or flush.refill(shop.pk):
        assert accounting.check(shop.pk) == []
        flush.flush(shop.pk)
        assert accounting.check(shop.pk) == []
    sandbox.faults.clear()
    assert OutboxEntry.objects.filter(status="rejected").count() == 2
    resolution.send_again(OutboxEntry.objects.filter(status="rejected"))
    assert accounting.check(shop.pk) == []
    sync()
    assert accounting.check(shop.pk) == []
    assert accounting.count(shop.pk)["rejected"] == 0


def test_they_balance_between_a_halving_and_what_becomes_of_the_halves(shop: Account) -> None:
    for number in range(2):
        ordered(Customer.objects.create(account=shop, external_id=f"c{number}"), f"C-{number}", "3")
    relay.relay(shop.pk)
    (whole,) = ledger.next_to_send(shop.pk)
    ledger.start(whole)
    settlement.settle(whole, verdicts.of_answer(verdicts.Answer(400, b"{}"), "key"), 400)
    halves = ledger.next_to_send(shop.pk)
    assert len(halves) == 2
    assert accounting.check(shop.pk) == []
    assert set(BrazePurchase.objects.filter(fate="buffered").values_list("delivery_id", flat=True)) == set(halves)


@pytest.mark.parametrize("decision", ["send again", "treat as delivered", "discard", "delete the customer"])
def test_they_balance_before_and_after_a_decision_about_what_is_unknown(
    shop: Account, sandbox: SandboxServer, sync: Sync, decision: str
) -> None:
    BrazeSettings.objects.update(unknown_events="hold")
    cleo = Customer.objects.create(account=shop, external_id="Cleo")
    Event.objects.create(account=shop, customer=cleo, type="VISIT")
    ordered(cleo, "C-1", "29.33")
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    assert accounting.count(shop.pk)["unknown"] == 3
    assert accounting.check(shop.pk) == []
    unknown = OutboxEntry.objects.filter(status="unknown")
    {
        "send again": lambda: resolution.send_again(unknown),
        "treat as delivered": lambda: resolution.treat_as_delivered(unknown, "ada"),
        "discard": lambda: resolution.discard(unknown, "ada", "a test"),
        "delete the customer": cleo.delete,
    }[decision]()
    assert accounting.check(shop.pk) == []
    sync()
    assert accounting.check(shop.pk) == []
    assert accounting.count(shop.pk)["unknown"] == 0


def test_an_edit_after_the_sale_is_told_apart_from_an_error_of_the_books(shop: Account, sync: Sync) -> None:
    assert list(accounting.revenue(shop.pk)) == []
    line = OrderLine.objects.filter(order__order_id="A-1").earliest("position")
    line.value = Decimal(99)
    line.save()
    sync()
    assert accounting.check(shop.pk) == []
    assert list(accounting.revenue(shop.pk)) == ["order A-1: sent 39.34 USD, and its lines come to 109.005"]
    text, code = run()
    assert "edited since? order A-1" in text
    assert code == 0
    assert run("--strict")[1] == 1


def test_a_line_that_is_on_its_way_is_not_missing(shop: Account, sync: Sync) -> None:
    OrderLine.objects.create(order=Order.objects.get(order_id="A-1"), sku="CD", quantity=1, value=5)
    assert list(accounting.revenue(shop.pk)) == []
    sync()
    assert list(accounting.revenue(shop.pk)) == []
    assert accounting.check(shop.pk) == []


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_it_looks_at_one_moment_whatever_is_committed_meanwhile(account: Account) -> None:
    def capture() -> None:
        OutboxEntry.objects.create(account=account, integration="braze", kind="event", customer_external_id="Ada")
        connection.close()

    with accounting.at_one_moment():
        assert accounting.count(account.pk)["captured"] == 0
        other = Thread(target=capture)
        other.start()
        other.join()
        assert accounting.count(account.pk)["captured"] == 0
    assert accounting.count(account.pk)["captured"] == 1


# --- they can fail --------------------------------------------------------------------------------------

BUFFERED = OutboxEntry.objects.filter(status="buffered")
OPEN = Delivery.objects.filter(finished_at=None)


def forget_an_entry() -> None:
    BUFFERED.filter(kind="event").update(status="delivered")


def orphan_an_entry() -> None:
    BUFFERED.filter(kind="event").update(batch=uuid.uuid4())


def lose_a_request() -> None:
    OPEN.all().delete()


def repeat_a_request() -> None:
    request = OPEN.get()
    request.pk = uuid.uuid4()
    request.save(force_insert=True)


def miscount_a_request() -> None:
    OPEN.update(events=F("events") + 1)


def finish_a_request() -> None:
    OPEN.update(finished_at=F("created_at"))


def reopen_a_request() -> None:
    Delivery.objects.filter(pk=OutboxEntry.objects.get(subject=_event("Ada")).batch).update(finished_at=None)


def blame_another_request() -> None:
    other = Delivery.objects.exclude(finished_at=None).exclude(events=1)[0]
    OutboxEntry.objects.filter(subject=_event("Ada")).update(batch=other.pk)


def invent_a_status() -> None:
    OutboxEntry.objects.filter(subject=_event("Ada")).update(status="lost")


def settle_a_purchase_too_early() -> None:
    BrazePurchase.objects.filter(fate="buffered").update(fate="delivered")


def forget_a_purchase() -> None:
    BrazePurchase.objects.filter(order_id="A-1", line=1).update(fate="pending")


def hide_an_unknown_purchase() -> None:
    BrazePurchase.objects.filter(order_id="A-1", line=1).update(fate="unknown")


def hide_a_refused_purchase() -> None:
    BrazePurchase.objects.filter(order_id="A-1", line=1).update(fate="rejected")


def change_a_price() -> None:
    BrazePurchase.objects.filter(order_id="A-1", part=1, line=1).update(price=F("price") + Decimal("0.01"))


def reverse_too_much() -> None:
    BrazePurchase.objects.filter(is_reversal=True).update(price=F("price") - 1)


def reverse_what_was_not_sold() -> None:
    BrazePurchase.objects.filter(order_id="A-2", is_reversal=False).update(fate="discarded")


def lose_a_purchase() -> None:
    BrazePurchase.objects.filter(order_id="A-1", line=2).delete()


def _event(customer: str) -> str:
    return str(Event.objects.get(customer__external_id=customer).pk)


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (forget_an_entry, "which is not buffered"),
        (orphan_an_entry, "is buffered for request"),
        (lose_a_request, "open requests name it: none"),
        (repeat_a_request, "is buffered for request"),
        (miscount_a_request, "columns, manifest and body differ"),
        (finish_a_request, "open requests name it: none"),
        (reopen_a_request, "are settled, and their request"),
        (blame_another_request, "which does not name them"),
        (invent_a_status, "are somewhere"),
        (settle_a_purchase_too_early, "which is not on its way"),
        (forget_a_purchase, "is pending, and its order's changes are"),
        (hide_an_unknown_purchase, "is unknown, and its order's changes are"),
        (hide_a_refused_purchase, "is rejected, and its order's changes are"),
        (change_a_price, "is not what request"),
        (reverse_too_much, "is not the negation of its sale"),
        (reverse_what_was_not_sold, "reverses a sale that is discarded"),
        (lose_a_purchase, "names purchases that are not there"),
    ],
)
@pytest.mark.made_up
def test_an_error_is_found(on_the_way: Account, tamper: Callable[[], None], found: str) -> None:
    tamper()
    wrong = accounting.check(on_the_way.pk)
    assert any(found in line for line in wrong), wrong


# --- the command ----------------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[str, int]:
    output, code = StringIO(), 0
    try:
        call_command("braze_accounting", *arguments, stdout=output, no_color=True)
    except SystemExit as exit:
        code = int(exit.code or 0)
    return output.getvalue(), code


def test_the_command_says_where_changes_are(on_the_way: Account) -> None:
    text, code = run("--account", "shop")
    counts = accounting.count(on_the_way.pk)
    assert code == 0
    assert text.startswith(f"shop: {counts['captured']} captured = {counts['delivered']} delivered + ")
    assert "4 on the way" in text


@pytest.mark.made_up
def test_the_command_fails_for_one_account_that_does_not_balance_and_names_all(
    on_the_way: Account, sandbox: SandboxServer
) -> None:
    other = Account.objects.create(name="Another", slug="a-nother")
    BrazeSettings.objects.create(account=other)
    zero = Account.objects.create(name="Zero", slug="zero")
    BrazeSettings.objects.create(account=zero)
    forget_an_entry()
    text, code = run()
    assert code == 1
    assert list(dict.fromkeys(line.split(":")[0] for line in text.splitlines())) == ["a-nother", "shop", "zero"]
    assert run("--account", "zero")[1] == 0


def test_the_command_knows_its_accounts(db: None) -> None:
    with pytest.raises(CommandError, match="nobody"):
        run("--account", "nobody")

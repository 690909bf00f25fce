"""One round of a relay: the first relay process of each worker makes one at a time, so that no account has it for long;
and all that it takes is on its way afterwards."""

import pytest
from billiard.process import current_process

from integrations.braze import tasks
from integrations.braze.composing import packing, relay, taking
from integrations.braze.delivery import ledger, settlement, verdicts
from integrations.braze.models import BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.outbox import nudge
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.orders import fulfilled


def three_customers(account: Account) -> None:
    for name in ("Ada", "Bea", "Cy"):
        Customer.objects.create(account=account, external_id=name, first_name=name)


@pytest.mark.parametrize(("process", "moved"), [(0, 1), (1, 3), (2, 3)])
def test_the_first_process_of_a_worker_makes_one_round_and_comes_back_for_the_rest(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, process: int, moved: int
) -> None:
    """With a backlog in each process, all others would wait for the end of a slice."""
    told: list[int] = []
    monkeypatch.setattr(current_process(), "index", process, raising=False)
    monkeypatch.setattr(nudge, "publish_soon", told.append)
    monkeypatch.setattr(taking, "TAKE", 1)
    three_customers(account)
    tasks.relay(account.pk)
    assert OutboxEntry.objects.exclude(status="pending").count() == moved
    assert told == ([account.pk] if moved < 3 else [])


def test_one_round_leaves_nothing_behind_where_it_takes_all(account: Account, braze: BrazeSettings) -> None:
    three_customers(account)
    assert relay.relay(account.pk, most_rounds=1) == 3
    assert OutboxEntry.objects.filter(status="pending").count() == 0


@pytest.mark.parametrize("again", [False, True])
def test_every_purchase_of_a_round_is_on_its_way_with_the_request_that_carries_it(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Also where it is sent again, because it may have arrived."""
    BrazeSettings.objects.update(unknown_purchases="resend")
    monkeypatch.setattr(packing, "MAX_PER_ARRAY", 2)
    for number in range(2):
        one = Customer.objects.create(account=account, external_id=f"c{number}")
        fulfilled(account, one, ("CD", 10), ("DVD", 5), order_id=f"o{number}")
    relay.relay(account.pk, most_rounds=1)
    for request in Delivery.objects.all() if again else ():
        ledger.start(request.pk)
        settlement.settle(request.pk, verdicts.no_answer("nothing came back"))
    BrazeState.objects.update(backoff_until=None)
    relay.relay(account.pk, most_rounds=1)
    requests = Delivery.objects.filter(finished_at=None)
    carried = {(line["purchase"], request.pk) for request in requests for line in request.manifest["purchases"]}
    assert len(requests) == 2 and len(carried) == 4
    assert set(BrazePurchase.objects.filter(fate="buffered").values_list("pk", "delivery_id")) == carried

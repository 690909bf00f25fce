"""The first relay process of each worker makes one round at a time, so that no account has it for long."""

import pytest
from billiard.process import current_process

from integrations.braze import tasks
from integrations.braze.composing import relay, taking
from integrations.braze.models import BrazeSettings
from integrations.outbox import nudge
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer


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

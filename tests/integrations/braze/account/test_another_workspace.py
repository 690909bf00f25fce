"""Another endpoint is another workspace: it holds nothing that an earlier one took, and gets what that one refused."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from dev.waiting import wait_until
from integrations.braze.composing import relay
from integrations.braze.delivery import ledger, settlement, verdicts
from integrations.braze.delivery.client import Answer
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.recovery import backfill
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.connections import beside, started, waiting
from tests.integrations.braze.fates import Sync, settle_all

ACCEPTED = verdicts.Verdict(verdicts.Outcome.ACCEPTED, verdicts.ObjectFate.DELIVERED, verdicts.Traffic.GO_ON)


@pytest.fixture
def other(sandbox: SandboxServer, settings: Any) -> Iterator[SandboxServer]:
    """The workspace that the account moves to."""
    with SandboxServer() as another:
        settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url, another.url]
        yield another


@pytest.fixture
def ada(account: Account) -> Customer:
    return Customer.objects.create(account=account, external_id="c1", first_name="Ada")


def on_its_way(account: Account) -> Delivery:
    """A started request of all that is pending."""
    relay.relay(account.pk)
    request = Delivery.objects.get()
    assert ledger.start(request.pk)
    return request


def move_to(other: SandboxServer) -> None:
    mine = BrazeSettings.objects.get()
    mine.rest_endpoint, mine.api_key = other.url, "another-key"
    mine.save()


def gets_everything(account: Account, sync: Sync, other: SandboxServer) -> bool:
    """By "send everything the account has", as the page offers."""
    list(backfill.backfill(account.pk))
    settle_all(sync)
    profile = other.profile("c1")
    return profile is not None and profile["standard_attributes"] == {"first_name": "Ada"}


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_it_holds_nothing_of_an_answer_that_is_settled_during_the_save(
    account: Account, braze: BrazeSettings, ada: Customer, other: SandboxServer, sync: Sync
) -> None:
    """The save comes after the settlement has read the settings, and before it moves the mirror."""
    request, settle_entries, threads = on_its_way(account), settlement._settle_entries, []

    def save_and_settle(*arguments: Any) -> None:
        threads.append(beside(lambda: move_to(other)))
        settle_entries(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settlement, "_settle_entries", save_and_settle)
        settlement.settle(request.pk, ACCEPTED, 201)  # the earlier workspace's answer
    for thread in threads:
        thread.join()
    assert gets_everything(account, sync, other)


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_it_holds_nothing_of_what_was_composed_while_the_save_had_to_wait(
    account: Account, braze: BrazeSettings, ada: Customer, other: SandboxServer, sync: Sync
) -> None:
    """A backfill has the settings locked, a thousand records at a time, while somebody saves another endpoint."""
    with transaction.atomic():
        BrazeSettings.objects.select_for_update().get(account=account)  # as a backfill does
        saving = started(lambda: move_to(other))
        wait_until(waiting, "the save to wait for our lock", timeout=10)
        started(lambda: on_its_way(account)).join(10)  # under the settings that are still in force
    saving.join(10)
    settlement.settle(Delivery.objects.get().pk, ACCEPTED, 201)  # the earlier workspace's answer
    assert gets_everything(account, sync, other)


def test_it_gets_what_an_earlier_one_refused_in_flight(
    account: Account, braze: BrazeSettings, ada: Customer, other: SandboxServer, sync: Sync
) -> None:
    request = on_its_way(account)
    move_to(other)
    named = b'{"type": "The value for \'first_name\' is bad", "input_array": "attributes", "index": 0}'
    answer = Answer(400, b'{"errors": [%b]}' % named)
    settlement.settle(request.pk, verdicts.of_answer(answer, "old-key"), 400)
    assert gets_everything(account, sync, other)


def test_another_workspace_starts_with_an_empty_mirror(
    account: Account, braze: BrazeSettings, one: Customer, sync: Sync, sandbox: SandboxServer, settings: Any
) -> None:
    sync()
    with SandboxServer() as other:
        settings.BRAZE_EXTRA_ENDPOINTS = [sandbox.url, other.url]
        braze.rest_endpoint, braze.api_key = other.url, "another-key"
        braze.save()
        one.city = "Rome"
        one.save()
        sync()
        assert other.profile("c1")["standard_attributes"] == {"first_name": "Ada", "home_city": "Rome"}

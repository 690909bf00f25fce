"""What breaks off in its last step has done nothing, and can be done again."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import Model

from integrations.braze.composing import relay
from integrations.braze.delivery import client, commits, ledger, profiles, settlement, verdicts
from integrations.braze.delivery.settlement import Answered
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeState, Delivery
from integrations.braze.recovery import resolution, restored
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.fates import Sync

BreaksOff = Callable[..., None]


class Broken(Exception):
    """A step that fails."""


def unknown() -> Any:
    return OutboxEntry.objects.filter(status="unknown")


def settle(account: Account) -> None:
    answer = verdicts.of_answer(client.Answer(201, b'{"message": "success"}'), "key")
    ids = Delivery.objects.filter(finished_at=None).values_list("pk", flat=True)
    settlement.settle_all(account.pk, [Answered(pk, answer, 201) for pk in ids])


def resume(account: Account) -> None:
    restored.resume(account.pk, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def breaks_off(monkeypatch: pytest.MonkeyPatch) -> BreaksOff:
    """Do something whose last step is this one; it fails, and all is as it was."""

    def check(step: tuple[Any, str], action: Callable[[], object]) -> None:
        def broken(*_: object, **__: object) -> None:
            raise Broken

        before = rows()
        with monkeypatch.context() as patch, pytest.raises(Broken):
            patch.setattr(*step, broken)
            action()
        assert rows() == before
        action()
        assert rows() != before

    return check


def rows() -> list[dict[str, Any]]:
    models: tuple[type[Model], ...] = (Delivery, OutboxEntry, BrazePurchase, BrazeProfile, BrazeState)
    return [row for model in models for row in model._default_manager.order_by("pk").values()]


def test_a_round_of_the_relay(account: Account, change: Customer, breaks_off: BreaksOff) -> None:
    breaks_off((commits, "count_commit"), lambda: relay.relay(account.pk))
    assert Delivery.objects.count() == 1


def test_a_settlement(account: Account, change: Customer, breaks_off: BreaksOff) -> None:
    relay.relay(account.pk)
    ledger.start_all(Delivery.objects.values_list("pk", flat=True))
    breaks_off((profiles, "move"), lambda: settle(account))
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"delivered"}


def test_taking_requests_back(account: Account, change: Customer, breaks_off: BreaksOff) -> None:
    relay.relay(account.pk)
    breaks_off((ledger, "carried"), lambda: ledger.dissolve_unstarted(account.pk))
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"pending"}


@pytest.mark.parametrize(
    "decision",
    [
        lambda: resolution.send_again(unknown()),
        lambda: resolution.treat_as_delivered(unknown(), by="ada"),
        lambda: resolution.discard(unknown(), by="ada", reason="no"),
    ],
    ids=["send again", "treat as delivered", "discard"],
)
def test_a_person_s_decision(
    change: Customer,
    sandbox: SandboxServer,
    sync: Sync,
    breaks_off: BreaksOff,
    decision: Callable[[], object],
) -> None:
    sandbox.faults.add(close="after", times=1)
    sync()
    assert unknown().exists()
    breaks_off((settlement, "unpark"), decision)
    assert not unknown().exists()


def test_going_on_after_a_restore(account: Account, change: Customer, breaks_off: BreaksOff) -> None:
    relay.relay(account.pk)
    breaks_off((commits, "highest"), lambda: resume(account))
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"unknown"}

"""A failure on the way to Braze costs no other request its answer, and what has not left is not in doubt."""

from typing import Any
from uuid import UUID

import pytest

from integrations.braze.composing import relay
from integrations.braze.delivery import flush, ledger
from integrations.braze.models import BrazeSettings, Delivery
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.doubts import Sync
from tests.integrations.braze.fates import counts


def composed(account: Account, number: int) -> list[UUID]:
    """This many ready requests, each of another customer."""
    for each in range(number):
        Customer.objects.create(account=account, external_id=f"c{each}")
        relay.relay(account.pk)
    return ledger.next_to_send(account.pk)


# --- in a sender -----------------------------------------------------------------------------------------


def test_a_request_that_breaks_down_takes_no_other_one_s_answer_with_it(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are looked at together."""
    monkeypatch.setattr(flush, "TOGETHER_SECONDS", 5)
    spoilt, *others = composed(account, 12)
    redis_client.hset(f"braze:{{{account.pk}}}:bodies", str(spoilt), "no zlib")
    assert flush.flush(account.pk) == 12
    assert sandbox.summary()["requests"]["track"] == 11
    assert set(Delivery.objects.filter(pk__in=others).values_list("outcome", flat=True)) == {"accepted"}


def test_a_body_that_cannot_be_unpacked_never_left_and_is_made_anew(
    account: Account, change: Customer, sandbox: SandboxServer, redis_client: Any, sync: Sync
) -> None:
    relay.relay(account.pk)
    redis_client.hset(f"braze:{{{account.pk}}}:bodies", str(Delivery.objects.get().pk), "no zlib")
    flush.flush(account.pk)
    assert sandbox.summary()["requests"]["track"] == 0
    assert (Delivery.objects.get().outcome, counts()) == ("dissolved", {"pending": 4})
    sync()
    assert counts() == {"delivered": 4}

"""What was claimed and is not sent is free again at once: nothing waits for a claim to run out."""

from integrations.braze.composing import relay
from integrations.braze.delivery import buffer, flush, ledger
from integrations.braze.models import BrazeSettings, Delivery
from masivo_braze.loyalty.models import Account, Customer


def test_what_has_to_wait_for_the_limit_is_ready_again(account: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(calls_per_window=1, window_seconds=3600)
    for name in ("c1", "c2"):
        Customer.objects.create(account=account, external_id=name)
        relay.relay(account.pk)
    flush.flush(account.pk)
    waiting = list(Delivery.objects.filter(started_at=None).order_by("created_at").values_list("pk", flat=True))
    assert len(waiting) == 2
    assert buffer.claimed(account.pk, waiting) == set()
    assert [claim.id for claim in buffer.claim_some(account.pk, 2)] == waiting


def test_what_was_taken_back_takes_up_no_place(account: Account, braze: BrazeSettings) -> None:
    Customer.objects.create(account=account, external_id="c1")
    relay.relay(account.pk)
    ledger.dissolve_unstarted(account.pk)
    assert not buffer.is_empty(account.pk)
    flush.flush(account.pk)
    assert buffer.is_empty(account.pk)
    assert buffer.claimed(account.pk, [Delivery.objects.get().pk]) == set()

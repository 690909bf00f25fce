"""Sends one customer's whole state again, whatever Braze is believed to hold."""

from django.db import transaction

from integrations.braze import mirror
from integrations.braze.delivery.profiles import state_again
from integrations.braze.integration import BrazeIntegration, entries_of
from integrations.braze.models import BrazeProfile
from integrations.braze.recovery import backfill
from integrations.outbox import capture
from integrations.outbox.models import IN_ANY_STATE
from masivo_braze.loyalty.models import Customer


def resend(customer: Customer) -> int:
    """Mark the customer's mirror as uncertain and capture the whole state; returns how many changes were captured.

    Braze counts events and purchases, so of these only what was never sent is sent: see `backfill.of_customer`.
    """
    if not BrazeIntegration().wants(customer.account_id):
        return 0
    before = _captured(customer)
    with transaction.atomic():
        _doubt(customer)
        capture.record([state_again(customer.account_id, customer.external_id, str(customer.pk))])
    for _ in backfill.of_customer(customer):
        pass
    return _captured(customer) - before


def _doubt(customer: Customer) -> None:
    """Make all attributes uncertain, so that they differ from any value; what Braze refused before is tried again."""
    mine = BrazeProfile.objects.filter(account_id=customer.account_id, external_id=customer.external_id)
    for profile in mine.select_for_update():
        mirror.doubt(profile, profile.attributes)
        profile.refused = {}
        profile.save(update_fields=["uncertain", "refused"])


def _captured(customer: Customer) -> int:
    mine = entries_of(customer.account_id)
    return mine.filter(IN_ANY_STATE, customer_external_id=customer.external_id).count()

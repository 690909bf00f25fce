"""Sends one customer's whole state again, whatever Braze is believed to have of it."""

from django.db import transaction

from integrations.braze import mirror
from integrations.braze.delivery.profiles import STATE_TOPICS
from integrations.braze.integration import NAME, BrazeIntegration
from integrations.braze.models import BrazeProfile
from integrations.braze.recovery import backfill
from integrations.outbox import capture
from integrations.outbox.capture import Change
from integrations.outbox.models import IN_ANY_STATE, Kind, OutboxEntry
from masivo_braze.loyalty.models import Customer


def resend(customer: Customer) -> int:
    """Doubt all that the mirror has of the customer and capture their state; how many changes were captured.

    Events and purchases are counted in Braze, so of these only what was never captured goes: see `backfill`.
    """
    if not BrazeIntegration().wants(customer.account_id):
        return 0
    before = _captured(customer)
    with transaction.atomic():
        _doubt(customer)
        capture.record([_whole_state(customer)])
    for _ in backfill.of_customer(customer):
        pass
    return _captured(customer) - before


def _doubt(customer: Customer) -> None:
    """Attributes become uncertain, so they differ from anything; what Braze refused before is tried again."""
    mine = BrazeProfile.objects.filter(account_id=customer.account_id, external_id=customer.external_id)
    for profile in mine.select_for_update():
        mirror.doubt(profile, profile.attributes)
        profile.refused = {}
        profile.save(update_fields=["uncertain", "refused"])


def _whole_state(customer: Customer) -> Change:
    return Change(
        customer.account_id,
        Kind.CUSTOMER_UPDATED,
        customer.external_id,
        STATE_TOPICS,
        str(customer.pk),
        {"resync": True},
    )


def _captured(customer: Customer) -> int:
    mine = OutboxEntry.objects.filter(account_id=customer.account_id, integration=NAME)
    return mine.filter(IN_ANY_STATE, customer_external_id=customer.external_id).count()

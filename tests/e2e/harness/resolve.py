"""The operator at the end: what is unknown is treated as delivered where Braze has it, else sent again.

What Braze has refused when it was sent again, and does not have, is discarded: it would be refused for ever.
"""

from integrations.braze.composing.records import ORDER_KINDS
from integrations.braze.models import BrazePurchase, Fate
from integrations.braze.models.purchase import IN_DOUBT_BEFORE
from integrations.braze.recovery import resolution
from integrations.outbox.models import OutboxEntry, Status
from tests.e2e.harness.journal import Braze


def by_what_braze_has(braze: Braze) -> None:
    """One by one, as each looks when its turn comes: a decision about an order covers all its entries."""
    for pk in list(OutboxEntry.objects.filter(status=Status.UNKNOWN).values_list("pk", flat=True)):
        entry = OutboxEntry.objects.get(pk=pk)
        if entry.status != Status.UNKNOWN:
            continue
        chosen = OutboxEntry.objects.filter(pk=pk)
        if _has(braze, entry):
            resolution.treat_as_delivered(chosen, "the harness")
        elif entry.error.startswith(IN_DOUBT_BEFORE):
            resolution.discard(chosen, "the harness", "Braze refuses it")
        else:
            resolution.send_again(chosen)


def _has(braze: Braze, entry: OutboxEntry) -> bool:
    if entry.kind not in ORDER_KINDS:
        return bool(braze.events[entry.subject])
    unknown = BrazePurchase.objects.filter(
        account_id=entry.account_id, order_id=entry.data["order_id"], fate=Fate.UNKNOWN
    )
    return any(braze.purchases[row.purchase_id] for row in unknown)

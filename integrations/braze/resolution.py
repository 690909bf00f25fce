"""What a person decides about changes that Braze refused, or whose outcome is not known.

Every decision leaves its reason on the entry. Sending again never touches a sibling that Braze accepted: the unit of
fate of a purchase is its row, and only rows that were refused or are unknown go back.
"""

from collections.abc import Collection

from django.db import transaction
from django.db.models import QuerySet

from integrations.braze.integration import NAME
from integrations.braze.models import BrazeProfile, BrazePurchase, Fate
from integrations.braze.records import ORDER_KINDS
from integrations.outbox import nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status

#: Entries that wait for a person.
OPEN = (Status.REJECTED, Status.UNKNOWN)


@transaction.atomic
def send_again(entries: "QuerySet[OutboxEntry]") -> int:
    """Refused and unknown entries become pending. An unknown one may arrive twice: the person was asked."""
    chosen = _locked(entries, OPEN)
    BrazeProfile.objects.filter(
        account_id__in={entry.account_id for entry in chosen},
        external_id__in={entry.customer_external_id for entry in chosen},
    ).update(refused={})
    _purchases(chosen, (Fate.REJECTED, Fate.UNKNOWN)).update(
        fate=Fate.PENDING, delivery_id=None, error="", settled_at=None
    )
    done = _settle(chosen, status=Status.PENDING, error="", worst="", batch=None, settled_at=None)
    _wake(chosen)
    return done


@transaction.atomic
def treat_as_delivered(entries: "QuerySet[OutboxEntry]", by: str) -> int:
    """Unknown entries that did arrive, as somebody has seen in Braze; reversals of them may now go."""
    chosen, now = _locked(entries, (Status.UNKNOWN,)), database_now()
    _purchases(chosen, (Fate.UNKNOWN,)).update(fate=Fate.DELIVERED, settled_at=now)
    done = _settle(chosen, status=Status.DELIVERED, error=f"treated as delivered by {by}", settled_at=now)
    _wake(chosen)
    return done


@transaction.atomic
def discard(entries: "QuerySet[OutboxEntry]", by: str, reason: str) -> int:
    """Give up on refused and unknown entries, with a reason that stays."""
    chosen, now = _locked(entries, OPEN), database_now()
    words = f"discarded by {by}: {reason}"
    _purchases(chosen, (Fate.REJECTED, Fate.UNKNOWN)).update(fate=Fate.DISCARDED, error=words, settled_at=now)
    done = _settle(chosen, status=Status.DISCARDED, error=words, settled_at=now)
    _wake(chosen)
    return done


def _locked(entries: "QuerySet[OutboxEntry]", statuses: Collection[str]) -> list[OutboxEntry]:
    """Those that still stand as they did when the person looked."""
    mine = entries.filter(integration=NAME, status__in=statuses).order_by("pk")
    return list(mine.select_for_update())


def _purchases(chosen: Collection[OutboxEntry], fates: Collection[str]) -> "QuerySet[BrazePurchase]":
    of_orders = [entry for entry in chosen if entry.kind in ORDER_KINDS]
    return BrazePurchase.objects.filter(
        account_id__in={entry.account_id for entry in of_orders},
        order_id__in={entry.data.get("order_id", "") for entry in of_orders},
        customer_external_id__in={entry.customer_external_id for entry in of_orders},
        fate__in=fates,
    )


def _settle(chosen: Collection[OutboxEntry], **changes: object) -> int:
    """With the entries of the same orders: they share their purchases' fate."""
    ids = {entry.pk for entry in chosen}
    done = OutboxEntry.objects.filter(pk__in=ids).update(**changes)
    for entry in chosen:
        if entry.kind in ORDER_KINDS:
            same = OutboxEntry.objects.filter(account_id=entry.account_id, integration=NAME, kind__in=ORDER_KINDS)
            same = same.filter(customer_external_id=entry.customer_external_id, subject=entry.subject)
            same.filter(status=entry.status).update(**changes)
    return done


def _wake(chosen: Collection[OutboxEntry]) -> None:
    """Reversals that waited for these purchases are looked at again."""
    for account_id in {entry.account_id for entry in chosen}:
        customers = {entry.customer_external_id for entry in chosen if entry.account_id == account_id}
        parked = OutboxEntry.objects.filter(account_id=account_id, integration=NAME, status=Status.PENDING, parked=True)
        parked.filter(customer_external_id__in=customers).update(parked=False, error="")
        nudge.after_commit({account_id})

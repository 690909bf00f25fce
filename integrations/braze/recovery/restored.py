"""Resumes an account after its database was restored from a backup: what may have been sent since is in doubt."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat

from integrations.braze.composing.records import FACT_KINDS, ORDER_KINDS
from integrations.braze.delivery import commits
from integrations.braze.integration import NAME, entries_of
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeState, Delivery, Fate, Outcome
from integrations.braze.recovery import lost_purchases
from integrations.outbox import lease, nudge
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status


@transaction.atomic
def resume(account_id: int, since: datetime) -> dict[str, int]:
    """Hold what is in doubt as unknown, and end the pause; returns how many rows of each kind that were.

    Events and purchases that were open when the loss was noticed may have been sent after the backup: they are held for
    an operator. So are those that Braze had refused: somebody may have sent them again. State can be sent again without
    harm: everything in the mirror becomes uncertain. `since`, in UTC, is when the backup was taken; it only appears in
    the reasons. Raises `redis.RedisError`.
    """
    noticed = BrazeState.objects.get(account_id=account_id).paused_at or since
    lease.revoke(account_id, NAME)
    now = database_now()
    open_requests = Delivery.objects.filter(account_id=account_id, finished_at=None)
    requests = open_requests.update(finished_at=now, outcome=Outcome.UNKNOWN, answer="The database was restored.")
    mine = entries_of(account_id)
    mine.filter(status=Status.BUFFERED).update(status=Status.PENDING, batch=None)
    is_doubtful = Q(status=Status.PENDING, created_at__lt=noticed) | Q(status=Status.REJECTED)
    doubtful = mine.filter(is_doubtful, kind__in=FACT_KINDS)
    words = f"The database was restored to {since:%Y-%m-%d %H:%M} UTC: this may have been sent since."
    _doubt_orders(account_id, words)
    _doubt_refused_purchases(account_id, doubtful.filter(status=Status.REJECTED), words)
    lost_purchases.add(account_id, doubtful.filter(kind__in=ORDER_KINDS), now)
    facts = doubtful.filter(status=Status.REJECTED).update(status=Status.UNKNOWN, error=_in_front(words))
    facts += doubtful.update(status=Status.UNKNOWN, error=words, settled_at=now, parked=False, due_at=None)
    purchases = _doubt_purchases(account_id, words)
    profiles = _doubt_mirror(account_id)
    BrazeState.objects.filter(account_id=account_id).update(
        paused_at=None, pause_kind="", pause_reason="", commits=commits.highest(account_id)
    )
    nudge.after_commit({account_id})
    return {"requests": requests, "events and orders": facts, "purchases": purchases, "profiles": profiles}


def _doubt_orders(account_id: int, words: str) -> None:
    """Show the doubt about orders that have purchases to be sent but no pending entry: mark their skipped entries."""
    waiting = BrazePurchase.objects.filter(account_id=account_id, fate__in=(Fate.PENDING, Fate.BUFFERED))
    orders = set(waiting.values_list("customer_external_id", "order_id"))
    changes = entries_of(account_id).filter(kind__in=ORDER_KINDS)
    changes = changes.filter(customer_external_id__among={customer for customer, _ in orders})
    columns = ("customer_external_id", "data", "pk")
    orders -= {
        (customer, data.get("order_id", ""))
        for customer, data, _ in changes.filter(status=Status.PENDING).values_list(*columns)
    }
    ended = changes.filter(status=Status.SKIPPED)
    ids = {pk for customer, data, pk in ended.values_list(*columns) if (customer, data.get("order_id", "")) in orders}
    ended.filter(pk__among=ids).update(status=Status.UNKNOWN, error=words)


def _doubt_refused_purchases(account_id: int, refused: "QuerySet[OutboxEntry]", words: str) -> None:
    """Refused purchases that an entry shows; others, such as a deleted customer's, nobody can have sent again."""
    shown = refused.filter(kind__in=ORDER_KINDS).values_list("customer_external_id", "data")
    orders = {(customer, data.get("order_id", "")) for customer, data in shown}
    rows = BrazePurchase.objects.filter(account_id=account_id, fate=Fate.REJECTED)
    rows = rows.filter(customer_external_id__among={customer for customer, _ in orders})
    ids = [pk for pk, *order in rows.values_list("pk", "customer_external_id", "order_id") if tuple(order) in orders]
    BrazePurchase.objects.filter(pk__among=ids).update(fate=Fate.UNKNOWN, error=_in_front(words))


def _in_front(words: str) -> Concat:
    """An expression: `words`, before the reason that is there already."""
    return Concat(Value(f"{words} Before: "), F("error"), output_field=TextField())


def _doubt_purchases(account_id: int, words: str) -> int:
    rows = BrazePurchase.objects.filter(account_id=account_id, fate__in=(Fate.PENDING, Fate.BUFFERED))
    return rows.update(fate=Fate.UNKNOWN, error=words)


def _doubt_mirror(account_id: int) -> int:
    profiles = BrazeProfile.objects.filter(account_id=account_id)
    for profile in profiles.iterator(2_000):
        uncertain: list[Any] = sorted({*profile.uncertain, *profile.attributes})
        BrazeProfile.objects.filter(pk=profile.pk).update(uncertain=uncertain)
    return profiles.count()

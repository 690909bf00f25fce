"""The sync state beside Masivo's records: a word in their lists, a panel on their pages.

Importing this registers it.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from integrations.braze.admin.arrival import address
from integrations.braze.composing.records import AUDIENCE_KINDS, ORDER_KINDS
from integrations.braze.console import health, search
from integrations.braze.console.search import Found
from integrations.braze.integration import NAME, entries_of, pending_of
from integrations.braze.models import BrazeProfile
from integrations.outbox.clock import database_now
from integrations.outbox.models import IN_ANY_STATE, Kind, OutboxEntry, Status
from masivo_braze.console import beside
from masivo_braze.loyalty.models import Audience, Customer, Event, Membership, Order, OrderLine

#: How many of a record's newest changes its page shows.
SHOWN = 5
#: How many of an account's waiting changes are searched for those of an audience: there is no index for these.
LOOKED_AT = 10_000
WORDS = {
    Status.PENDING: "waiting",
    Status.BUFFERED: "on its way",
    Status.DELIVERED: "in Braze",
    Status.SKIPPED: "nothing to send",
    Status.REJECTED: "rejected",
    Status.UNKNOWN: "unknown",
    Status.DISCARDED: "discarded",
}


def states(records: Sequence[Any]) -> dict[Any, str]:
    """The status of each record's newest change, in words, by primary key.

    Found by customer, for which there is an index.
    """
    if not records or not isinstance(records[0], Audience | Customer | Event | Order | OrderLine | Membership):
        return {}
    if isinstance(records[0], Audience):
        return _of_audiences(records)
    about = {record.pk: _about(record) for record in records}
    entries = OutboxEntry.objects.filter(pk__in=_newest(list(about.values())))
    by_subject = not isinstance(records[0], Customer)
    by_key = {
        (each.account_id, each.customer_external_id, each.subject if by_subject else ""): each.status
        for each in entries
    }
    found = {pk: by_key.get((one.account_id, one.customer, one.subject)) for pk, one in about.items()}
    return {pk: WORDS[Status(status)] for pk, status in found.items() if status}


class About(NamedTuple):
    """What to look up a record's changes by. Without `kinds`: all changes of the customer."""

    account_id: int
    customer: str
    kinds: Collection[str] = ()
    subject: str = ""


def _about(record: Any) -> About:
    if isinstance(record, Customer):
        return About(record.account_id, record.external_id)
    if isinstance(record, Membership):
        account_id, customer = record.audience.account_id, record.customer.external_id
        return About(account_id, customer, AUDIENCE_KINDS, str(record.audience_id))
    order = record.order if isinstance(record, OrderLine) else record
    kinds = [Kind.EVENT] if isinstance(record, Event) else ORDER_KINDS
    return About(order.account_id, order.customer.external_id, kinds, str(order.pk))


def _newest(about: Sequence[About]) -> list[int]:
    """The id of each one's newest change."""
    mine = OutboxEntry.objects.filter(
        IN_ANY_STATE,
        account_id__in={one.account_id for one in about},
        customer_external_id__in={one.customer for one in about},
        integration=NAME,
    ).order_by()
    if not about[0].kinds:
        grouped = mine.values("account_id", "customer_external_id")
    else:
        mine = mine.filter(kind__in=about[0].kinds, subject__in={one.subject for one in about})
        grouped = mine.values("account_id", "customer_external_id", "subject")
    return [row["newest"] for row in grouped.annotate(newest=Max("pk"))]


def _of_audiences(audiences: Sequence[Audience]) -> dict[Any, str]:
    """How many changes of members are waiting, among the oldest waiting changes of the account."""
    words: dict[Any, str] = {}
    for account_id in {audience.account_id for audience in audiences}:
        waiting = dict(_waiting(account_id).order_by().values_list("subject").annotate(Count("pk")))
        mine = [audience for audience in audiences if audience.account_id == account_id]
        words |= {one.pk: f"{waiting.get(str(one.pk), 0):,} waiting" for one in mine if str(one.pk) in waiting}
        words |= {one.pk: "nothing waits" for one in mine if str(one.pk) not in waiting}
    return words


def _waiting(account_id: int) -> QuerySet[OutboxEntry]:
    oldest = pending_of(account_id).order_by("pk").values_list("pk", flat=True)[:LOOKED_AT]
    return pending_of(account_id).filter(pk__in=oldest, kind__in=AUDIENCE_KINDS)


# --- the panel ------------------------------------------------------------------------------------------


def panel(request: HttpRequest, record: Any) -> SafeString | None:
    if isinstance(record, Audience):
        return _render(request, record, _waiting_of(record))
    if not isinstance(record, Customer | Event | Order):
        return None
    entries = list(_entries_of(record).order_by("-pk")[:SHOWN])
    may_look = request.user.has_perm("braze.view_arrival")
    shown = {"entries": entries, "arrival": address(_found(record)) if may_look else ""}
    return _render(request, record, shown | _of_customer(request, record))


def _found(record: Any) -> Found:
    customer = search.customer(record.account, _about(record).customer)
    if isinstance(record, Order):
        return replace(customer, order=record.order_id)
    return replace(customer, event=str(record.pk)) if isinstance(record, Event) else customer


def _render(request: HttpRequest, record: Any, context: dict[str, Any]) -> SafeString:
    (standing,) = health.overview([record.account], database_now())  # as the Health page has it
    shown = {"record": record, "standing": standing, **context}
    may_see = request.user.has_perm("outbox.view_outboxentry")
    return render_to_string("admin/braze/beside.html", {**shown, "may_see": may_see}, request=request)


def _entries_of(record: Any) -> QuerySet[OutboxEntry]:
    about = _about(record)
    mine = entries_of(about.account_id).filter(IN_ANY_STATE, customer_external_id=about.customer)
    return mine.filter(kind__in=about.kinds, subject=about.subject) if about.kinds else mine


def _of_customer(request: HttpRequest, record: Any) -> dict[str, Any]:
    """What Braze is believed to have of the customer, and whether this person may send it again."""
    if not isinstance(record, Customer):
        return {}
    profile = BrazeProfile.objects.filter(account_id=record.account_id, external_id=record.external_id).first()
    return {"customer": record, "profile": profile, "may_resend": may_resend(request)}


def may_resend(request: HttpRequest) -> bool:
    """Takes the same permission as deciding about failed syncs: both decide what Braze gets."""
    return request.user.has_perm("braze.change_failedsync")


def _waiting_of(audience: Audience) -> dict[str, Any]:
    """How many changes of members are waiting among the account's oldest; `is_partial` if not all were searched."""
    waiting = _waiting(audience.account_id).filter(subject=str(audience.pk)).count()
    more = pending_of(audience.account_id).order_by("pk")[LOOKED_AT : LOOKED_AT + 1]
    return {"waiting": waiting, "is_partial": more.exists()}


beside.STATES.append(states)
beside.PANELS.append(panel)

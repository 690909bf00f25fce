"""The sync state beside Masivo's records: a word in their lists, a panel on their pages. Registered on import."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from integrations.braze import readiness
from integrations.braze.admin.arrival import address
from integrations.braze.console import search
from integrations.braze.console.search import Found
from integrations.braze.integration import NAME
from integrations.braze.models import BrazeProfile
from integrations.braze.records import ORDER_KINDS
from integrations.outbox.models import Kind, OutboxEntry, Status
from masivo_braze.console import beside
from masivo_braze.loyalty.models import Audience, Customer, Event, Order

#: Of a record's changes, the newest that its page shows.
SHOWN = 5
#: Of an account's waiting changes, for those of one audience: there is no index for these.
LOOKED_AT = 10_000
AUDIENCE_KINDS = (Kind.AUDIENCE_JOINED, Kind.AUDIENCE_LEFT, Kind.AUDIENCE_RENAMED)
WORDS = {
    Status.PENDING: "waiting",
    Status.BUFFERED: "on its way",
    Status.DELIVERED: "in Braze",
    Status.SKIPPED: "nothing to send",
    Status.REJECTED: "refused",
    Status.UNKNOWN: "unknown",
    Status.DISCARDED: "discarded",
}


def states(records: Sequence[Any]) -> dict[Any, str]:
    """The fate of each record's newest change; found by customer, of which there is an index."""
    if not records or not isinstance(records[0], Customer | Event | Order):
        return {}
    entries = OutboxEntry.objects.filter(pk__in=_newest(records))
    by_key = {(each.account_id, _key(type(records[0]), each)): WORDS[Status(each.status)] for each in entries}
    found = {record.pk: by_key.get((record.account_id, _key_of(record))) for record in records}
    return {pk: words for pk, words in found.items() if words}


def _newest(records: Sequence[Any]) -> list[int]:
    """The ids of their newest changes."""
    customers = {_customer_of(record).external_id for record in records}
    accounts = {record.account_id for record in records}
    mine = OutboxEntry.objects.filter(account_id__in=accounts, customer_external_id__in=customers, integration=NAME)
    if isinstance(records[0], Customer):
        by_customer = mine.order_by().values("account_id", "customer_external_id")
        return [row["newest"] for row in by_customer.annotate(newest=Max("pk"))]
    kinds = [Kind.EVENT] if isinstance(records[0], Event) else ORDER_KINDS
    mine = mine.filter(kind__in=kinds, subject__in={str(record.pk) for record in records})
    return [row["newest"] for row in mine.order_by().values("account_id", "subject").annotate(newest=Max("pk"))]


def _key(model: type, entry: OutboxEntry) -> str:
    return entry.customer_external_id if model is Customer else entry.subject


def _key_of(record: Any) -> str:
    return record.external_id if isinstance(record, Customer) else str(record.pk)


def _customer_of(record: Any) -> Customer:
    customer: Customer = record if isinstance(record, Customer) else record.customer
    return customer


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
    customer = search.customer(record.account, _customer_of(record).external_id)
    if isinstance(record, Order):
        return replace(customer, order=record.order_id)
    return replace(customer, event=str(record.pk)) if isinstance(record, Event) else customer


def _render(request: HttpRequest, record: Any, context: dict[str, Any]) -> SafeString:
    ready = readiness.of(record.account_id)
    words = f"{ready.state}: {ready.detail}" if ready.detail else ready.state
    shown = {"record": record, "account_state": words, "is_healthy": ready.is_ready, **context}
    may_see = request.user.has_perm("outbox.view_outboxentry")
    return render_to_string("admin/braze/beside.html", {**shown, "may_see": may_see}, request=request)


def _entries_of(record: Any) -> QuerySet[OutboxEntry]:
    mine = OutboxEntry.objects.filter(
        account_id=record.account_id, integration=NAME, customer_external_id=_customer_of(record).external_id
    )
    if isinstance(record, Customer):
        return mine
    return mine.filter(kind__in=[Kind.EVENT] if isinstance(record, Event) else ORDER_KINDS, subject=str(record.pk))


def _of_customer(request: HttpRequest, record: Any) -> dict[str, Any]:
    """What is believed of the customer in Braze, and whether this person may send them again."""
    if not isinstance(record, Customer):
        return {}
    profile = BrazeProfile.objects.filter(account_id=record.account_id, external_id=record.external_id).first()
    return {"customer": record, "profile": profile, "may_resend": may_resend(request)}


def may_resend(request: HttpRequest) -> bool:
    """It is a decision about what Braze gets, as about a failed sync."""
    return request.user.has_perm("braze.change_failedsync")


def _waiting_of(audience: Audience) -> dict[str, Any]:
    """How many of its members' changes wait among the account's oldest; `is_partial` where there are more of these."""
    mine = OutboxEntry.objects.filter(account_id=audience.account_id, integration=NAME, status=Status.PENDING)
    oldest = mine.order_by("pk").values_list("pk", flat=True)[:LOOKED_AT]
    waiting = mine.filter(pk__in=oldest, kind__in=AUDIENCE_KINDS, subject=str(audience.pk)).count()
    return {"waiting": waiting, "is_partial": mine.order_by("pk")[LOOKED_AT : LOOKED_AT + 1].exists()}


beside.STATES.append(states)
beside.PANELS.append(panel)

"""A person's decision about failed syncs: the page that asks, the action, and its trace in the history."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from integrations.braze.admin.pages import ids_among
from integrations.braze.admin.request_page import may_view_payloads
from integrations.braze.mapping import money
from integrations.braze.models import BrazePurchase, Delivery
from integrations.braze.recovery import resolution
from integrations.outbox.admin import to_the_second
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.console.base import ModelAdmin
from masivo_braze.deadlocks import through_deadlocks

#: Most changes decided about at once; the person is told that the rest is left.
MOST = 10_000
#: Most changes listed on the page that asks.
SHOWN = 20
#: Most purchases listed to be ticked one by one; with more, none is listed and all are meant.
MOST_PURCHASES = 200
#: In characters.
MOST_OF_REASON = 500


@dataclass(frozen=True, slots=True)
class Said:
    """What a person answered: who it was, the reason, and which of the purchases `listed` (ids) have `arrived`."""

    by: str
    reason: str = ""
    listed: Collection[int] = frozenset()
    arrived: Collection[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """One action. `carry_out(entries, said)` returns the entries it changed, including others of the same orders.

    `only_doubtful` actions leave out what Braze refused, and list the purchases to be ticked. `asks` is "always", or
    "doubtful" to ask only if any of the chosen changes may have arrived.
    """

    action: str
    title: str
    explanation: str
    button: str
    done: str
    carry_out: Callable[["QuerySet[OutboxEntry]", Said], list[OutboxEntry]]
    asks: str = "always"
    only_doubtful: bool = False
    needs_reason: bool = False


def _treat_as_delivered(entries: "QuerySet[OutboxEntry]", said: Said) -> list[OutboxEntry]:
    """Purchases that have come into doubt since the page was shown stay in doubt: nobody was asked about them."""
    rows = resolution.in_doubt(entries).values_list("pk", flat=True) if said.listed else ()
    return resolution.treat_as_delivered(entries, said.by, [pk for pk in rows if pk not in said.arrived])


SEND_AGAIN = Decision(
    action="send_again",
    title="Send again, though it may arrive twice?",
    explanation="Braze's answer to these was lost: they may have arrived. If they did, sending them again makes Braze "
    "count them twice, and what Braze has counted cannot be taken back: a purchase sent twice inflates revenue for "
    "good. “Ask Braze” on the page of a change shows what Braze has counted so far.",
    button="Send again",
    done="to be sent again",
    carry_out=lambda entries, said: resolution.send_again(entries),
    asks="doubtful",
)
TREAT_AS_DELIVERED = Decision(
    action="treat_as_delivered",
    title="Did these arrive?",
    explanation="They will count as delivered and will not be sent again. If they did not arrive after all, they are "
    "missing in Braze for good. A reversal that waits for them will be sent.",
    button="Yes, treat as delivered",
    done="treated as delivered",
    carry_out=_treat_as_delivered,
    only_doubtful=True,
)
DISCARD = Decision(
    action="discard",
    title="Discard these changes?",
    explanation="They will not be sent, now or later. What Braze may already have taken of them stays there, and is "
    "not reversed.",
    button="Discard",
    done="discarded",
    carry_out=lambda entries, said: resolution.discard(entries, said.by, said.reason),
    needs_reason=True,
)


def decide(
    page: ModelAdmin, request: HttpRequest, queryset: "QuerySet[OutboxEntry]", decision: Decision
) -> HttpResponse | None:
    """Show the page that asks, or carry out what was confirmed. None: go back to where the person came from."""
    if "chosen" in request.POST:
        chosen = sorted(ids_among(request.POST["chosen"].split(",")))
        if not chosen:
            messages.warning(request, "Nothing was chosen.")
            return None
        reason = request.POST.get("reason", "").replace("\0", "").strip()
        error = _fault(reason, decision) or _later(page, request, chosen) or _news(page, request, chosen, decision)
        if not error:
            listed, arrived = (ids_among(request.POST.getlist(name)) for name in ("listed", "arrived"))
            said = Said(request.user.get_username(), reason, listed, arrived)
            _carry_out(page, request, chosen, decision, said, asked=len(chosen))
            return None
        return _ask(page, request, chosen, decision, reason, error)
    chosen = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
    if len(chosen) > MOST:
        chosen.pop()
        messages.warning(request, f"{MOST:,} changes at a time: choose again for the rest.")
    doubtful = resolution.doubtful(_named(page, request, chosen))
    if not chosen:
        _tell(request, decision, 0, 0, _ticked(request))
        return None
    if decision.only_doubtful:
        _mention_refused(request, len(chosen) - len(doubtful))
        chosen = [pk for pk in chosen if pk in doubtful]
    if chosen and (decision.asks == "always" or doubtful):
        return _ask(page, request, chosen, decision)
    if chosen:
        said = Said(request.user.get_username())
        _carry_out(page, request, chosen, decision, said, asked=max(len(chosen), _ticked(request)))
    return None


def _fault(reason: str, decision: Decision) -> str:
    if decision.needs_reason and not reason:
        return "Say why: the reason stays with the changes."
    if len(reason) > MOST_OF_REASON:
        return f"The reason is {len(reason):,} characters long: say it in {MOST_OF_REASON} or fewer."
    return ""


def _later(page: ModelAdmin, request: HttpRequest, chosen: list[int]) -> str:
    """That some of the chosen were sent again, and failed, since the page was shown, which did not ask about that."""
    try:
        shown = datetime.fromisoformat(request.POST.get("shown", ""))
        later = _named(page, request, chosen).filter(settled_at__gt=shown.astimezone(UTC)).count()
    except (ValueError, OverflowError):  # not by a page of ours
        return ""
    return f"{_changes(later)} {_were(later)} sent, and failed, once more since this page was shown." if later else ""


def _news(page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision) -> str:
    """That more of the chosen have come into doubt since the page was shown, of which nobody was warned; or ""."""
    if decision.asks != "doubtful" or "warned" not in request.POST:
        return ""
    more = resolution.doubtful(_named(page, request, chosen)) - ids_among(request.POST["warned"].split(","))
    return f"Of {_changes(len(more))} more, Braze's answer was lost since this page was shown." if more else ""


def _ticked(request: HttpRequest) -> int:
    """How many changes were ticked; somebody else may have decided about some of them since the list was shown."""
    return 0 if request.POST.get("select_across") == "1" else len(request.POST.getlist(ACTION_CHECKBOX_NAME))


def _named(page: ModelAdmin, request: HttpRequest, chosen: list[int]) -> "QuerySet[OutboxEntry]":
    """The chosen entries, as far as this person may see them: the ids came from a form."""
    return page.get_queryset(request).filter(pk__in=chosen[:MOST])


def _mention_refused(request: HttpRequest, refused: int) -> None:
    if refused:
        words = "was refused by Braze, so it has not arrived" if refused == 1 else "were refused, so have not arrived"
        messages.warning(request, f"{refused:,} of the chosen {words}: left as before.")


def _ask(
    page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision, reason: str = "", error: str = ""
) -> HttpResponse:
    shown = database_now()
    named = _named(page, request, chosen)
    doubtful = resolution.doubtful(named)
    purchases = list(resolution.in_doubt(named)[: MOST_PURCHASES + 1]) if decision.only_doubtful else []
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": decision.title,
        "decision": decision,
        "entries": named.select_related("account").order_by("pk")[:SHOWN],
        "number": len(chosen),
        "doubtful": len(doubtful),
        "refused": len(chosen) - len(doubtful),
        "more": max(len(chosen) - SHOWN, 0),
        "purchases": _in_words(request, purchases) if len(purchases) <= MOST_PURCHASES else [],
        "chosen": ",".join(map(str, chosen)),
        "shown": shown.isoformat(),
        "warned": ",".join(map(str, sorted(doubtful))),
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "first": chosen[0],
        "reason": reason,
        "most_of_reason": MOST_OF_REASON,
        "error": error,
    }
    return TemplateResponse(request, "admin/braze/failedsync/decision.html", context)


def _in_words(request: HttpRequest, purchases: list[BrazePurchase]) -> list[dict[str, Any]]:
    """Rows for the template: what each purchase is, for those who may see that, and when it was sent."""
    may_see = may_view_payloads(request)
    sent = Delivery.objects.filter(pk__in={row.delivery_id for row in purchases if row.delivery_id})
    started: dict[UUID | None, datetime | None] = dict(sent.values_list("pk", "started_at"))
    return [
        {
            "id": row.pk,
            "name": f"{row.purchase_id} (reversal)" if row.is_reversal else row.purchase_id,
            "product": row.product_id if may_see else "",
            "amount": f"{money.in_words(row.price, row.currency)} × {row.quantity}" if may_see else "",
            "sent": to_the_second(started.get(row.delivery_id)),
        }
        for row in purchases
    ]


# --- carried out ----------------------------------------------------------------------------------------


def _carry_out(
    page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision, said: Said, asked: int
) -> None:
    done, in_part, skipped = through_deadlocks(lambda: _done(page, request, chosen, decision, said))
    mine = {entry.pk for entry in done} & set(chosen)
    _tell(request, decision, len(mine), len(done) - len(mine), asked - len(mine) - len(in_part) - len(skipped))
    if skipped:
        words = (
            f"{_changes(len(skipped))} {_were(len(skipped))} skipped: the customer exists again, and is not deleted."
        )
        messages.warning(request, words)
    if in_part:
        has, them = ("has", "it") if len(in_part) == 1 else ("have", "them")
        messages.warning(
            request,
            f"{_changes(len(in_part))} {has} purchases that did not arrive: send {them} again, or discard {them}.",
        )


@transaction.atomic
def _done(
    page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision, said: Said
) -> tuple[list[OutboxEntry], list[OutboxEntry], list[OutboxEntry]]:
    """The entries that were changed, the chosen ones of which something is left in doubt, and those now skipped."""
    named = list(_named(page, request, chosen).values_list("pk", flat=True))
    done = decision.carry_out(_named(page, request, chosen), said)
    left = _named(page, request, chosen).exclude(pk__in=[entry.pk for entry in done])
    in_part = list(left) if said.listed else []
    skipped = list(OutboxEntry.objects.filter(pk__in=named, status=Status.SKIPPED))
    for entries, words in (
        (done, f"{decision.done}: {said.reason}" if said.reason else decision.done),
        (in_part, f"{decision.done} in part"),
        (skipped, "skipped, since the customer exists again"),
    ):
        LogEntry.objects.log_actions(request.user.pk, entries, CHANGE, words.capitalize())  # type: ignore[arg-type]
    return done, in_part, skipped


def _tell(request: HttpRequest, decision: Decision, done: int, siblings: int, missed: int) -> None:
    words = f"{_changes(done)} {decision.done}"
    if not done and not missed:
        return
    if siblings:
        words += f", and {siblings:,} more of the same orders with them"
    (messages.success if done else messages.warning)(request, f"{words}.")
    if missed:
        messages.warning(request, f"{_changes(missed)} had meanwhile changed and {_were(missed)} left alone.")


def _changes(number: int) -> str:
    return f"{number:,} change" if number == 1 else f"{number:,} changes"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"

"""A person's decision about failed syncs: the page that explains it, carrying it out, and the trace it leaves."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from integrations.braze import resolution
from integrations.outbox.models import OutboxEntry
from masivo_braze.console.base import ModelAdmin

#: Decided about at once; more are left for the next time, and that is said.
MOST = 10_000
#: Listed on the page that asks.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """One action. `carry_out(entries, by, reason)` returns what it changed, the others of the same orders included.

    `only_doubtful`: it means nothing for what Braze refused. `asks` is "always", or "doubtful": where any of the chosen
    may have arrived.
    """

    action: str
    title: str
    explanation: str
    button: str
    done: str
    carry_out: Callable[["QuerySet[OutboxEntry]", str, str], list[OutboxEntry]]
    asks: str = "always"
    only_doubtful: bool = False
    needs_reason: bool = False


SEND_AGAIN = Decision(
    action="send_again",
    title="Send again, though it may arrive twice?",
    explanation="Braze's answer to these was lost: they may have arrived. If they did, sending them again makes Braze "
    "count them twice, and what Braze has counted cannot be taken back: a purchase sent twice inflates revenue for "
    "good. “Ask Braze” on the page of a change shows what Braze has counted so far.",
    button="Send again",
    done="to be sent again",
    carry_out=lambda entries, by, reason: resolution.send_again(entries),
    asks="doubtful",
)
TREAT_AS_DELIVERED = Decision(
    action="treat_as_delivered",
    title="Did these arrive?",
    explanation="They will count as delivered and will not be sent again. If they did not arrive after all, they are "
    "missing in Braze for good. A reversal that waits for them will be sent.",
    button="Yes, treat as delivered",
    done="treated as delivered",
    carry_out=lambda entries, by, reason: resolution.treat_as_delivered(entries, by),
    only_doubtful=True,
)
DISCARD = Decision(
    action="discard",
    title="Discard these changes?",
    explanation="They will not be sent, now or later. What Braze may already have taken of them stays there, and is "
    "not reversed.",
    button="Discard",
    done="discarded",
    carry_out=resolution.discard,
    needs_reason=True,
)


def decide(
    page: ModelAdmin, request: HttpRequest, queryset: "QuerySet[OutboxEntry]", decision: Decision
) -> HttpResponse | None:
    """Ask, or carry out what was asked and confirmed; None leads back to where the person came from."""
    if "chosen" in request.POST:
        chosen = [int(pk) for pk in request.POST["chosen"].split(",") if pk.isdecimal()]
        reason = request.POST.get("reason", "").replace("\0", "").strip()
        if reason or not decision.needs_reason:
            _carry_out(page, request, chosen, decision, reason, asked=len(chosen))
            return None
        return _ask(page, request, chosen, decision, error="Say why: the reason stays with the changes.")
    chosen = list(queryset.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
    if len(chosen) > MOST:
        chosen.pop()
        messages.warning(request, f"{MOST:,} changes at a time: choose again for the rest.")
    doubtful = resolution.doubtful(_named(page, request, chosen))
    if decision.only_doubtful:
        _mention_refused(request, len(chosen) - len(doubtful))
        chosen = [pk for pk in chosen if pk in doubtful]
    if chosen and (decision.asks == "always" or doubtful):
        return _ask(page, request, chosen, decision)
    if chosen or not decision.only_doubtful:
        _carry_out(page, request, chosen, decision, "", asked=max(len(chosen), _ticked(request)))
    return None


def _ticked(request: HttpRequest) -> int:
    """Some of which may have been decided about by somebody else since the list was shown."""
    return 0 if request.POST.get("select_across") == "1" else len(request.POST.getlist(ACTION_CHECKBOX_NAME))


def _named(page: ModelAdmin, request: HttpRequest, chosen: list[int]) -> "QuerySet[OutboxEntry]":
    """Those of the chosen that this person may see: the ids came from a form."""
    return page.get_queryset(request).filter(pk__in=chosen[:MOST])


def _mention_refused(request: HttpRequest, refused: int) -> None:
    if refused:
        words = "was refused by Braze, so it has not arrived" if refused == 1 else "were refused, so have not arrived"
        messages.warning(request, f"{refused:,} of the chosen {words}: left as before.")


def _ask(
    page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision, error: str = ""
) -> HttpResponse:
    named = _named(page, request, chosen)
    doubtful = resolution.doubtful(named)
    context = {
        **page.admin_site.each_context(request),
        "opts": page.model._meta,
        "title": decision.title,
        "decision": decision,
        "entries": named.select_related("account").order_by("pk")[:SHOWN],
        "number": len(chosen),
        "doubtful": len(doubtful),
        "more": max(len(chosen) - SHOWN, 0),
        "chosen": ",".join(map(str, chosen)),
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "first": chosen[0],
        "reason_error": error,
    }
    return TemplateResponse(request, "admin/braze/failedsync/decision.html", context)


# --- carried out ----------------------------------------------------------------------------------------


def _carry_out(
    page: ModelAdmin, request: HttpRequest, chosen: list[int], decision: Decision, reason: str, asked: int
) -> None:
    by = request.user.get_username()
    with transaction.atomic():
        done = decision.carry_out(_named(page, request, chosen), by, reason)
        words = f"{decision.done}: {reason}" if reason else decision.done
        LogEntry.objects.log_actions(request.user.pk, done, CHANGE, words.capitalize())  # type: ignore[arg-type]
    mine = {entry.pk for entry in done} & set(chosen)
    _tell(request, decision, len(mine), len(done) - len(mine), asked - len(mine))


def _tell(request: HttpRequest, decision: Decision, done: int, siblings: int, missed: int) -> None:
    words = f"{_changes(done)} {decision.done}"
    if siblings:
        words += f", and {siblings:,} more of the same orders with them"
    (messages.success if done else messages.warning)(request, f"{words}.")
    if missed:
        messages.warning(request, f"{_changes(missed)} had meanwhile changed and {_were(missed)} left alone.")


def _changes(number: int) -> str:
    return f"{number:,} change" if number == 1 else f"{number:,} changes"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"

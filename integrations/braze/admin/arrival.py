"""“Did it arrive?”: a search, and of what is found everything that became of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from integrations.braze.admin import comparison
from integrations.braze.admin.pages import PageAdmin, ids_among, visible_account, visible_accounts
from integrations.braze.admin.request_page import may_view_payloads
from integrations.braze.composing import preview
from integrations.braze.console import search, timeline
from integrations.braze.console.search import Found
from integrations.braze.models import BrazeProfile
from masivo_braze.loyalty.models import Customer, Event, Order


class Arrival(BrazeProfile):
    """The timeline of a record, with a permission to look at it."""

    class Meta:
        proxy = True
        app_label = "braze"
        verbose_name = "timeline"
        verbose_name_plural = "did it arrive?"
        default_permissions = ("view",)


@admin.register(Arrival)
class ArrivalAdmin(PageAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.search), name="braze_arrival_changelist"),
            path("<str:slug>/", wrap(self.timeline), name="braze_arrival_timeline"),
        ]

    def search(self, request: HttpRequest) -> HttpResponse:
        """One thing found leads to its timeline, several to a choice."""
        self._may_look(request)
        term, chosen = request.GET.get("q", "").strip(), request.GET.get("account", "")
        accounts = list(visible_accounts(request))
        within = [account for account in accounts if chosen in ("", account.slug)]
        if request_id := search.request_of(term, within):
            return redirect("admin:braze_delivery_change", request_id)
        found = search.search(term, within)
        if len(found) == 1:
            return redirect(address(found[0]))
        choice = [(one, address(one)) for one in found]
        of_a_kind = Counter(one.kind for one in found)
        is_cut = any(number >= search.MOST for number in of_a_kind.values())
        context = {"term": term, "accounts": accounts, "chosen": chosen, "choice": choice, "is_cut": is_cut}
        return self.page(request, "admin/braze/arrival/search.html", "Did it arrive?", **context)

    def timeline(self, request: HttpRequest, slug: str) -> HttpResponse:
        """By POST Braze is asked, too, what it holds of the customer."""
        self._may_look(request)
        if (found := _found(request, slug)) is None:
            messages.error(request, "There is no such event: this is no event's id.")
            return redirect(reverse("admin:braze_arrival_changelist", query={"q": request.GET.get("event", "")}))
        payloads = may_view_payloads(request)
        if request.method == "POST" and not payloads:
            raise PermissionDenied
        before = request.GET.get("before", "")
        context = {
            "found": found,
            "timeline": timeline.of(found, max(ids_among([before]), default=0), with_objects=payloads),
            "may_see_payloads": payloads,
            "may_decide": request.user.has_perm("braze.change_failedsync"),
            "customer_address": address(search.customer(found.account, found.customer)),
            "here": address(found),
            **(_known(found) if payloads else {}),
            **(comparison.asked(found.account.pk, found.customer) if request.method == "POST" else {}),
        }
        return self.page(request, "admin/braze/arrival/timeline.html", f"Did {found.name} arrive?", **context)

    def _may_look(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def address(found: Found) -> str:
    query = {"customer": found.customer, "order": found.order, "event": found.event}
    named = {name: value for name, value in query.items() if value}
    return reverse("admin:braze_arrival_timeline", args=(found.account.slug,), query=named)


def _found(request: HttpRequest, slug: str) -> Found | None:
    """None for an event whose id can be no event's. Raises `Http404` where no customer is named."""
    account, external_id = visible_account(request, slug), request.GET.get("customer", "")
    if not external_id or "\0" in request.GET.urlencode().replace("%00", "\0"):
        raise Http404("Which customer?")
    if order_id := request.GET.get("order", ""):
        return search.order(account, external_id, order_id)
    if event_id := request.GET.get("event", ""):
        return search.event(account, external_id, pk) if (pk := search.uuid_of(event_id)) else None
    return search.customer(account, external_id)


def _known(found: Found) -> dict[str, Any]:
    """What Braze is believed to hold of the customer, and what would be sent now."""
    profile = BrazeProfile.objects.filter(account=found.account, external_id=found.customer).first()
    return {"profile": profile, "preview": _preview(found)}


def _preview(found: Found) -> preview.Preview | None:
    """None where the record is no longer there; another customer's order may have its number by now."""
    if found.order:
        orders = Order.objects.filter(account=found.account, customer__external_id=found.customer)
        order = orders.filter(order_id=found.order).first()
        return preview.order(order) if order else None
    if found.event:
        events = Event.objects.filter(account=found.account, customer__external_id=found.customer)
        event = next(iter(events.filter(pk=found.event)), None)
        return preview.event(event) if event else None
    customer = Customer.objects.filter(account=found.account, external_id=found.customer).first()
    return preview.customer(customer) if customer else None

"""The ledger, the purchases and the mirror, read-only."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from integrations.braze.admin.reasons import SettledFilter
from integrations.braze.admin.request_page import HIDDEN, may_view_payloads, objects_table, payload, personal
from integrations.braze.integration import NAME
from integrations.braze.mapping import money
from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery
from integrations.braze.models.ledger import ARRAYS
from integrations.outbox.admin import REQUEST_PAGES, ReadOnlyAdmin, link_to, pretty_json, to_the_second
from masivo_braze.console.lists import time_column

REQUEST_PAGES[NAME] = "admin:braze_delivery_change"


class ComposedFilter(SettledFilter):
    field = "created_at"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ["composed", "account", "objects", "waited", "took", "result"]
    list_select_related = ["account"]
    list_filter = ["outcome", "endpoint", ComposedFilter, "account"]
    search_fields = ["id"]
    search_help_text = "The exact id of a request."
    ordering = ["-created_at"]  # the ids are random
    fieldsets = [
        (None, {"fields": ["id", "account", "endpoint", "objects", "bytes"]}),
        ("What became of it", {"fields": ["result", "answer", "composed", "started", "waited", "finished", "took"]}),
        ("Objects", {"fields": ["objects_listed"]}),
    ]
    with_payload = [
        *fieldsets[:-1],
        ("Objects", {"fields": ["objects_sent"]}),
        ("Payload", {"classes": ["collapse"], "fields": ["payload"]}),
    ]
    readonly_fields = [
        "objects", "result", "composed", "started", "finished", "objects_listed", "objects_sent", "payload",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("body", "manifest")

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> Any:
        return self.with_payload if may_view_payloads(request) else self.fieldsets

    @admin.display(description="objects")
    def objects(self, delivery: Delivery) -> str:
        counts = {name: getattr(delivery, name) for name in ARRAYS}
        return ", ".join(f"{number} {name[: -1 if number == 1 else None]}" for name, number in counts.items() if number)

    @admin.display(description="composed (UTC)")
    def composed(self, delivery: Delivery) -> str:
        return to_the_second(delivery.created_at)

    @admin.display(description="started (UTC)")
    def started(self, delivery: Delivery) -> str:
        return to_the_second(delivery.started_at)

    @admin.display(description="finished (UTC)")
    def finished(self, delivery: Delivery) -> str:
        return to_the_second(delivery.finished_at)

    @admin.display(description="waited")
    def waited(self, delivery: Delivery) -> str:
        return _between(delivery.created_at, delivery.started_at)

    @admin.display(description="took")
    def took(self, delivery: Delivery) -> str:
        return _between(delivery.started_at, delivery.finished_at)

    @admin.display(description="result")
    def result(self, delivery: Delivery) -> str:
        words = delivery.get_outcome_display() or ("in flight" if delivery.started_at else "not sent yet")
        return f"{words} ({delivery.status_code})" if delivery.status_code else words

    @admin.display(description="in order")
    def objects_sent(self, delivery: Delivery) -> str:
        return objects_table(delivery, with_contents=True)

    @admin.display(description="in order")
    def objects_listed(self, delivery: Delivery) -> str:
        return objects_table(delivery, with_contents=False)

    @admin.display(description="JSON")
    def payload(self, delivery: Delivery) -> str:
        return payload(delivery)


def _between(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return "–"
    seconds = (end - start).total_seconds()
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


@admin.register(BrazePurchase)
class BrazePurchaseAdmin(ReadOnlyAdmin):
    list_display = ["purchase_id", "account", "customer_external_id", "amount", "at", "outcome"]
    list_select_related = ["account"]
    list_filter = ["fate", "is_reversal", "account"]
    search_fields = ["order_id", "purchase_id", "customer_external_id"]
    search_help_text = "An exact order id, purchase id or customer id."
    fields = ["account", "customer_external_id", "order_id", "line", "part", "is_reversal", "purchase_id", "product_id",
              "amount", "at", "more", "outcome", "sent_in", "made", "settled"]  # fmt: skip
    readonly_fields = ["amount", "at", "more", "outcome", "sent_in", "made", "settled", "hidden"]

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        return [personal(request, "more") if name == "more" else name for name in self.fields]

    @admin.display(description="properties")
    def hidden(self, purchase: BrazePurchase) -> str:
        return HIDDEN

    @admin.display(description="time (UTC)")
    def at(self, purchase: BrazePurchase) -> str:
        return to_the_second(purchase.time)

    @admin.display(description="composed (UTC)")
    def made(self, purchase: BrazePurchase) -> str:
        return to_the_second(purchase.created_at)

    @admin.display(description="settled (UTC)")
    def settled(self, purchase: BrazePurchase) -> str:
        return to_the_second(purchase.settled_at)

    @admin.display(description="properties")
    def more(self, purchase: BrazePurchase) -> str:
        return pretty_json(purchase.properties)

    @admin.display(description="request")
    def sent_in(self, purchase: BrazePurchase) -> str:
        return link_to(REQUEST_PAGES[NAME], purchase.delivery_id) if purchase.delivery_id else "-"

    @admin.display(description="price × quantity")
    def amount(self, purchase: BrazePurchase) -> str:
        return f"{money.in_words(purchase.price, purchase.currency)} × {purchase.quantity}"

    @admin.display(description="fate")
    def outcome(self, purchase: BrazePurchase) -> str:
        return purchase.outcome


@admin.register(BrazeProfile)
class BrazeProfileAdmin(ReadOnlyAdmin):
    list_display = ["external_id", "account", "is_known", time_column("last_accepted_at"), time_column("deleted_at")]
    list_select_related = ["account"]
    list_filter = ["is_known", "account"]
    search_fields = ["external_id"]
    search_help_text = "An exact customer id."
    fields = [
        "account",
        "external_id",
        "is_known",
        "is_unproven",
        "held",
        "uncertain",
        "last_accepted_at",
        "deleted_at",
    ]
    readonly_fields = ["held", "hidden"]

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        return [personal(request, "held") if name == "held" else name for name in self.fields]

    @admin.display(description="attributes")
    def hidden(self, profile: BrazeProfile) -> str:
        return HIDDEN

    @admin.display(description="attributes")
    def held(self, profile: BrazeProfile) -> str:
        return pretty_json(profile.attributes)

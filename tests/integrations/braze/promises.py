"""What must hold of an account in the end, whatever has happened: held against the sandbox's own journal."""

from collections import Counter, defaultdict
from typing import Any

from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery
from integrations.braze.reporting import accounting
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Event, Order


class Promises:
    """Checks of one account that is all that the sandbox has seen."""

    sandbox: SandboxServer
    account: Account

    def check(self) -> None:
        entries = OutboxEntry.objects.filter(account=self.account)
        assert not entries.filter(status=Status.BUFFERED).exists()
        assert not entries.filter(status=Status.PENDING, parked=False).exists()
        self.check_profiles()
        self.check_facts(entries.filter(kind="event"))
        self.check_books()
        assert accounting.check(self.account.pk) == []

    def check_profiles(self) -> None:
        for one in Customer.objects.filter(account=self.account):
            held = self.sandbox.profile(one.external_id)
            assert held["attributes"]["first_name"] == one.first_name
            assert held["attributes"].get("tag_vip") == one.tags.get("vip")
            mirrored = BrazeProfile.objects.get(account=self.account, external_id=one.external_id)
            assert mirrored.uncertain == []
            assert mirrored.attributes == held["attributes"]

    def check_facts(self, events: Any) -> None:
        applied: dict[str, list[Any]] = defaultdict(list)
        for entry in self.sandbox.journal():
            properties = entry["object"].get("properties", {})
            applied[properties.get("event_id") or properties.get("purchase_id") or ""].append(entry)
        doubtful = Counter(
            item["properties"]["event_id"]
            for delivery in Delivery.objects.filter(account=self.account, outcome="unknown")
            for item in delivery.payload.get("events", [])
        )
        for entry in events:
            assert entry.status == Status.DELIVERED
            assert 1 <= len(applied[entry.subject]) <= 1 + doubtful[entry.subject]
        for row in BrazePurchase.objects.filter(account=self.account):
            times = len(applied[row.purchase_id])
            assert times == 1 if row.fate == "delivered" else times <= (row.fate == "unknown")
        self.check_order()

    def check_order(self) -> None:
        last: dict[str, int] = defaultdict(int)
        seen: set[str] = set()
        for entry in self.sandbox.journal():
            if entry["kind"] == "purchase":
                seen.add(entry["object"]["properties"]["purchase_id"])
                assert entry["object"]["properties"]["purchase_id"].removesuffix(":R") in seen
            if entry["kind"] == "event" and entry["object"]["properties"]["event_id"] not in seen:
                assert entry["object"]["properties"]["n"] > last[entry["customer"]]
                last[entry["customer"]] = entry["object"]["properties"]["n"]
                seen.add(entry["object"]["properties"]["event_id"])

    def check_books(self) -> None:
        events = Event.objects.filter(account=self.account).count()
        assert OutboxEntry.objects.filter(account=self.account, kind="event").count() == events
        for order in Order.objects.filter(account=self.account).prefetch_related("lines"):
            rows = BrazePurchase.objects.filter(account=self.account, order_id=order.order_id)
            assert rows
            if all(row.fate == "delivered" for row in rows):
                due = sum(line.paid for line in order.lines.all()) if order.status == "FULFILLED" else 0
                assert sum(row.price * row.quantity for row in rows) == due

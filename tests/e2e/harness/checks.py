"""`python -m tests.e2e.harness.checks`: waits until all is settled, then compares Braze with the database.

What Braze should hold is computed here from the records themselves, by none of the product's mapping. Prints one line
per broken promise; exits 1 if there is any.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import django
import requests

PAGE = 5_000


class Braze:
    """What the sandbox applied, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.journal = self._journal()
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.purchases: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.journal:
            if entry["kind"] == "event":
                self.events[entry["object"]["properties"]["event_id"]].append(entry)
            elif entry["kind"] == "purchase":
                self.purchases[entry["object"]["properties"]["purchase_id"]].append(entry)

    def summary(self) -> dict[str, Any]:
        return self.session.get(f"{self.url}/control/summary", timeout=30).json()

    def profile(self, external_id: str) -> dict[str, Any]:
        answer = self.session.get(f"{self.url}/control/profile", params={"external_id": external_id}, timeout=30)
        return answer.json() if answer.status_code == 200 else {}

    def _journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            after = entries[-1]["seq"] if entries else 0
            page = self.session.get(f"{self.url}/control/log", params={"after": after, "limit": PAGE}, timeout=60)
            found = page.json()
            found = found["entries"] if isinstance(found, dict) else found
            if not found:
                return entries
            entries += found


def settled(seconds: float) -> Iterator[str]:
    """Nothing is on its way any more, but what is parked behind an unknown sale."""
    end = time.monotonic() + seconds
    moving = OutboxEntry.objects.filter(status__in=["pending", "buffered"], parked=False)
    while moving.exists() and time.monotonic() < end:
        time.sleep(0.2)
    for entry in moving[:5]:
        yield f"not settled: {entry}, due {entry.due_at}"
    for state in BrazeState.objects.exclude(paused_at=None):
        yield f"paused: {state.pause_reason}"


def profiles(braze: Braze) -> Iterator[str]:
    """Final profiles equal the database; deleted customers are gone."""
    there = set()
    for one in Customer.objects.prefetch_related("audiences"):
        there.add(one.external_id)
        held = braze.profile(one.external_id)
        if not held:
            yield f"{one.external_id} is not in Braze"
            continue
        standard = {"first_name": one.first_name} | ({"home_city": one.city} if one.city else {})
        custom = {f"tag_{key}": value for key, value in one.tags.items()}
        custom |= {f"masivo_{audience.name}": True for audience in one.audiences.all()}
        custom |= {"loyalty_points": 0} | ({"loyalty_tier": one.tier} if one.tier else {})
        if held["standard_attributes"] != standard:
            yield f"{one.external_id}: Braze has {held['standard_attributes']}, the database {standard}"
        if held["custom_attributes"] != custom:
            yield f"{one.external_id}: Braze has {held['custom_attributes']}, the database {custom}"
    for external_id in {entry["customer"] for entry in braze.journal} - there:
        if braze.profile(external_id):
            yield f"{external_id} was deleted, and Braze still has it"


def sequence(braze: Braze) -> Iterator[str]:
    """Per customer, events take effect in the order of their commits, and no reversal before its sale."""
    last: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for entry in braze.journal:
        if entry["kind"] == "event":
            event_id, number = entry["object"]["properties"]["event_id"], entry["object"]["properties"]["n"]
            if event_id not in seen and number < last[entry["customer"]]:
                yield f"{entry['customer']}: event {number} after event {last[entry['customer']]}"
            last[entry["customer"]] = max(last[entry["customer"]], number)
            seen.add(event_id)
        elif entry["kind"] == "purchase":
            purchase_id = entry["object"]["properties"]["purchase_id"]
            if purchase_id.endswith(":R") and purchase_id.removesuffix(":R") not in seen:
                yield f"reversal {purchase_id} before its sale"
            seen.add(purchase_id)


def facts(braze: Braze) -> Iterator[str]:
    """No event and no purchase is lost; one is doubled only where the ledger says unknown and the policy resend."""
    doubtful = _doubtful()
    entries = OutboxEntry.objects.filter(kind="event").select_related("account__braze")
    for entry in entries:
        times, policy = len(braze.events[entry.subject]), entry.account.braze.unknown_events
        yield from _counted(f"event {entry.subject}", entry.status, times, doubtful[entry.subject], policy)
    for row in BrazePurchase.objects.select_related("account__braze"):
        times, policy = len(braze.purchases[row.purchase_id]), row.account.braze.unknown_purchases
        yield from _counted(f"purchase {row.purchase_id}", row.fate, times, doubtful[row.purchase_id], policy)
    for purchase_id in set(braze.purchases) - set(BrazePurchase.objects.values_list("purchase_id", flat=True)):
        yield f"Braze has a purchase that the ledger does not know: {purchase_id}"


def _counted(what: str, fate: str, times: int, doubtful: int, policy: str) -> Iterator[str]:
    if fate == "delivered" and times == 0:
        yield f"{what} is lost: delivered, and Braze never applied it"
    if fate in ("skipped", "rejected", "discarded", "pending") and times > doubtful:
        yield f"{what} is {fate}, and Braze applied it {times} times"
    if times > 1 and policy == "hold":
        yield f"{what} is doubled ({times} times), though unknown ones are held"
    if times > 1 + doubtful:
        yield f"{what} was applied {times} times, with {doubtful} requests of unknown outcome"


def _doubtful() -> Counter[str]:
    """By event and purchase id, in how many requests of unknown outcome it was."""
    found: Counter[str] = Counter()
    for delivery in Delivery.objects.filter(outcome="unknown", endpoint="track"):
        payload = delivery.payload
        found.update(item["properties"]["event_id"] for item in payload.get("events", []))
        found.update(item["properties"]["purchase_id"] for item in payload.get("purchases", []))
    return found


def captured(braze: Braze) -> Iterator[str]:
    """Every record has been captured, once: the books start right."""
    of_events = Counter(OutboxEntry.objects.filter(kind="event").values_list("subject", flat=True))
    for pk in Event.objects.values_list("pk", flat=True):
        if of_events[str(pk)] != 1:
            yield f"event {pk} was captured {of_events[str(pk)]} times"
    of_orders = set(OutboxEntry.objects.filter(kind="order").values_list("subject", flat=True))
    for pk in Order.objects.values_list("pk", flat=True):
        if str(pk) not in of_orders:
            yield f"order {pk} was never captured"


def revenue(braze: Braze) -> Iterator[str]:
    """An order whose purchases all arrived adds up to its total, and to nothing once reversed."""
    for order in Order.objects.prefetch_related("lines"):
        rows = BrazePurchase.objects.filter(account_id=order.account_id, order_id=order.order_id)
        if not rows or any(row.fate != "delivered" for row in rows):
            continue
        sent = sum((row.price * row.quantity for row in rows), Decimal(0))
        due = sum((line.paid for line in order.lines.all()), Decimal(0)) if order.status == "FULFILLED" else Decimal(0)
        if sent != due:
            yield f"order {order.order_id} ({order.status}): sent {sent}, due {due}"


def manners(braze: Braze) -> Iterator[str]:
    """No two requests in flight shared a customer, and nothing was refused."""
    summary = braze.summary()
    if summary["overlaps"]:
        yield f"{summary['overlaps']} times, two requests in flight shared a customer"
    if summary["rejected"] or summary["dropped"]:
        yield f"Braze refused {summary['rejected']} objects and dropped {summary['dropped']}"


CHECKS = (profiles, sequence, facts, captured, revenue, manners)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", required=True)
    parser.add_argument("--seconds", type=float, default=90)
    options = parser.parse_args()
    broken = list(settled(options.seconds))
    braze = Braze(options.sandbox)
    for check in CHECKS:
        broken += [f"{check.__name__}: {what}" for what in check(braze)]
    entries = Counter(OutboxEntry.objects.values_list("status", flat=True))
    print(f"captured {sum(entries.values())}: {dict(entries)}; {len(braze.journal)} objects applied", file=sys.stderr)
    for line in broken[:20]:
        print(line)
    return 1 if broken else 0


if __name__ == "__main__":
    django.setup()
    from integrations.braze.models import BrazePurchase, BrazeState, Delivery
    from integrations.outbox.models import OutboxEntry
    from masivo_braze.loyalty.models import Customer, Event, Order

    sys.exit(main())

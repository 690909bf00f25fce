"""What has to hold once all is settled: each check tells what does not.

What Braze should hold is computed here from the records themselves, by none of the product's mapping.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from io import StringIO
from typing import Any

from django.core.management import call_command

from integrations.braze.models import BrazePurchase, BrazeState, Delivery
from integrations.braze.reporting import accounting
from integrations.outbox.models import OutboxEntry, Status
from masivo_braze.loyalty.models import Account, Customer, Event, Order
from tests.e2e.harness import resolve, scenario
from tests.e2e.harness.journal import Braze

#: How often an operator decides about the same change.
DECISIONS = 3

Check = Callable[[Braze, dict[str, Any]], Iterator[str]]


def settled(seconds: float, **more: Any) -> Iterator[str]:
    """Nothing is on its way any more; for so long nothing may have settled, where the machine is slow.

    A customer who poisons each request has their changes refused one after the other, each by several requests.
    """
    moving = OutboxEntry.objects.filter(status__in=["pending", "buffered"], **more)
    least, end = moving.count(), time.monotonic() + seconds
    while (left := moving.count()) and time.monotonic() < end:
        if left < least:
            least, end = left, time.monotonic() + seconds
        time.sleep(0.2)
    for entry in moving[:5]:
        yield f"settled: {entry} is not; due {entry.due_at}, parked {entry.parked}"
        yield from _of_order(entry)
    for state in BrazeState.objects.exclude(paused_at=None):
        yield f"settled: paused, {state.pause_reason}"


def _of_order(entry: OutboxEntry) -> Iterator[str]:
    """All that tells why an entry is where it is."""
    yield f"  {entry.data}: {entry.error}"
    for other in OutboxEntry.objects.filter(account_id=entry.account_id, subject=entry.subject).order_by("pk"):
        yield f"  {other}, at worst {other.worst or 'fine'}: {other.data.get('status')}, {other.error}"
    for row in BrazePurchase.objects.filter(order_id=entry.data.get("order_id")):
        yield f"  {row} is {row.fate}: {row.error}"


def profiles(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """Final profiles equal the database; deleted customers are gone, and refused ones never came."""
    there = set(scenario.UNWELCOME)
    for one in Customer.objects.exclude(external_id__in=scenario.UNWELCOME).prefetch_related("audiences"):
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


def sequence(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """Per customer, events take effect in the order of their commits, and a reversal after those that came before it.

    Within a request, nothing has an order.
    """
    ids = dict(OutboxEntry.objects.filter(kind="event").values_list("subject", "pk"))
    reversed_at: dict[str, int] = {}
    for pk, data in OutboxEntry.objects.filter(kind__startswith="order").order_by("-pk").values_list("pk", "data"):
        if data["status"] != "FULFILLED":
            reversed_at[data["order_id"]] = pk
    last: dict[str, tuple[int, str]] = defaultdict(lambda: (0, "nothing"))
    seen: set[str] = set()
    for entry in braze.journal:
        customer, told = entry["customer"], entry["object"].get("properties", {})
        what = told.get("event_id", told.get("purchase_id", ""))
        if entry["kind"] == "event":
            place = ids[what]
            if what not in seen and place < last[customer][0]:
                yield f"{customer}: event {told['n']} after {last[customer][1]}"
        elif entry["kind"] == "purchase" and told.get("reversal"):
            place = reversed_at[what.split(":")[0]]
        else:
            continue
        last[customer] = max(last[customer], (place, f"{entry['kind']} {told.get('n', what)}"))
        seen.add(what)


def reversals(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """No reversal before its sale."""
    seen: set[str] = set()
    for entry in braze.journal:
        if entry["kind"] == "purchase":
            purchase_id = entry["object"]["properties"]["purchase_id"]
            if purchase_id.endswith(":R") and purchase_id.removesuffix(":R") not in seen:
                yield f"{purchase_id} came before its sale"
            seen.add(purchase_id)


def facts(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """No event and no purchase is lost; one is doubled only where the ledger says unknown and the policy resend."""
    doubtful = _doubtful()
    for entry in OutboxEntry.objects.filter(kind="event").select_related("account__braze"):
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
    """By event and purchase id, in how many requests of unknown outcome it was.

    By their manifests: what the bodies had of customers deleted since has been removed from them.
    """
    found: Counter[str] = Counter()
    events = dict(OutboxEntry.objects.filter(kind="event").values_list("pk", "subject"))
    purchases = dict(BrazePurchase.objects.values_list("pk", "purchase_id"))
    unknown = Delivery.objects.filter(outcome="unknown", endpoint="track")
    for manifest in unknown.values_list("manifest", flat=True):
        found.update(events[pk] for line in manifest.get("events", []) for pk in line["entries"] if pk in events)
        found.update(purchases.get(line["purchase"], "") for line in manifest.get("purchases", []))
    return found


def captured(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """Every record has been captured, once, or not at all where its toggle was off."""
    made_while_off = set(report["made_while_off"])
    times = Counter(OutboxEntry.objects.filter(kind="event").values_list("subject", flat=True))
    for pk in map(str, Event.objects.values_list("pk", flat=True)):
        if times[pk] != (pk not in made_while_off):
            yield f"event {pk} was captured {times[pk]} times{', though off' * (pk in made_while_off)}"
    of_orders = set(OutboxEntry.objects.filter(kind="order").values_list("subject", flat=True))
    for pk in map(str, Order.objects.values_list("pk", flat=True)):
        if pk not in of_orders:
            yield f"order {pk} was never captured"


def skipped(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """An event that is still there is skipped only because its toggle was off."""
    there = set(map(str, Event.objects.values_list("pk", flat=True)))
    for entry in OutboxEntry.objects.filter(kind="event", status="skipped").select_related("account"):
        was_off = entry.error == "Events is switched off" and entry.account.slug == scenario.FLIPPED
        if entry.subject in there and not was_off:
            yield f"{entry}: {entry.error}"


def toggles(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """Nothing that is off is sent, whenever it was captured."""
    with_events = Delivery.objects.filter(account__slug=scenario.FLIPPED, events__gt=0)
    for begin, end in report["off"]:
        interval = (datetime.fromisoformat(begin), datetime.fromisoformat(end))
        for delivery in with_events.filter(started_at__range=interval):
            yield f"{delivery} with events was started at {delivery.started_at}; events were off from {begin} to {end}"


def refusals(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """What Braze refuses ends as rejected, and takes nobody else's with it."""
    unwelcome = OutboxEntry.objects.filter(customer_external_id__in=scenario.UNWELCOME)
    for entry in unwelcome.filter(status="delivered").exclude(kind="customer_deleted"):
        yield f"{entry}: Braze refuses this customer"
    for entry in OutboxEntry.objects.filter(status="rejected").exclude(customer_external_id__in=scenario.UNWELCOME):
        yield f"{entry}: {entry.error}"
    for external_id in {entry["customer"] for entry in braze.journal if entry["kind"] != "delete"}:
        if external_id in scenario.UNWELCOME:
            yield f"Braze has applied something of {external_id}"


def revenue(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """What Braze was sent for an order adds up to its total, and to nothing once it is reversed.

    Where an outcome is not known, nothing can be said yet.
    """
    of_order: dict[tuple[int, str], list[BrazePurchase]] = defaultdict(list)
    for row in BrazePurchase.objects.all():
        of_order[row.account_id, row.order_id].append(row)
    for order in Order.objects.exclude(customer__external_id__in=scenario.UNWELCOME).prefetch_related("lines"):
        rows = of_order[order.account_id, order.order_id]
        if any(row.fate == "unknown" for row in rows):
            continue
        applied = {row.purchase_id: _amounts(braze.purchases[row.purchase_id]) for row in rows}
        for purchase_id, amounts in applied.items():
            if len(amounts) > 1:
                yield f"purchase {purchase_id} changed on its way: {', '.join(map(str, sorted(amounts)))}"
        sent = sum((max(amounts, default=Decimal(0)) for amounts in applied.values()), Decimal(0))
        due = sum((line.paid for line in order.lines.all()), Decimal(0)) if order.status == "FULFILLED" else Decimal(0)
        if sent != due:
            yield f"order {order.order_id} ({order.status}): sent {sent}, due {due}"


def _amounts(applied: list[dict[str, Any]]) -> set[Decimal]:
    """Of one purchase object, however often it was applied: that is counted elsewhere."""
    return {Decimal(str(entry["object"]["price"])) * entry["object"]["quantity"] for entry in applied}


def manners(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """No two requests in flight shared a customer, no limit was exceeded, nothing was dropped in silence."""
    summary = braze.summary()
    if summary["overlaps"]:
        yield f"{summary['overlaps']} times, two requests in flight shared a customer"
    if report["is_limited"] and (times := summary["statuses"].get("429")):
        yield f"Braze had to answer 429 {times} times"
    if summary["dropped"]:
        yield f"Braze dropped {summary['dropped']}"


def books(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """Captured = delivered + skipped + rejected + unknown + discarded + on the way, as an operator is told."""
    output = StringIO()
    call_command("braze_status", "--json", stdout=output)
    for line in json.loads(output.getvalue())["accounts"]:
        told = sum(line[status] for status in Status.values)
        there = OutboxEntry.objects.filter(account__slug=line["account"]).count()
        if told != there:
            yield f"{line['account']}: captured {there}, told {told}"
    for account in Account.objects.all():
        for what in accounting.check(account.pk):
            yield f"{account}: {what}"


def decided(braze: Braze, report: dict[str, Any]) -> Iterator[str]:
    """An operator can decide about all that is unknown. What is sent again may be so again, where answers are slow.

    So may what Braze refuses after a doubt: until that is decided, its reversal stays parked.
    """
    for _ in range(DECISIONS):
        resolve.by_what_braze_has(Braze(braze.url))
        yield from settled(report["seconds"], parked=False)
        if not OutboxEntry.objects.filter(status="unknown").exists():
            yield from settled(report["seconds"])
            return
    for entry in OutboxEntry.objects.filter(status="unknown")[:5]:
        yield f"{entry} is unknown"
        yield from _of_order(entry)


CHECKS: tuple[Check, ...] = (
    *(profiles, sequence, reversals, facts, captured, skipped, toggles, refusals, revenue, manners, books),
)
#: What a person resolved leaves the order, visibly; all else holds, now that nothing is unknown.
CHECKS_IN_THE_END: tuple[Check, ...] = (profiles, reversals, facts, refusals, revenue, manners, books)

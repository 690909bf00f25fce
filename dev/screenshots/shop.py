"""The sample shop of the screenshots, the same in each run: synced into the sandbox for real, then its times fixed.

`python -m dev.screenshots.shop` fills the database of the environment and prints the primary keys as JSON.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import django

from dev.screenshots import traffic

#: When everything in the pictures happened last.
MOMENT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
KEY = "5f0c1d2e-8a9b-4c3d-9e7f-0a1b2c3d4e5f"
ENDPOINT = "https://rest.fra-01.braze.eu"
NAMES = ("Ana Torres", "Luis Peña", "Carla Ruiz", "Diego Mora", "Elena Vidal", "Felipe Soto", "Gloria Paz", "Hugo León")
PRODUCTS = (("ESP-250", "Espresso beans 250 g", "11.50"), ("FIL-100", "Paper filters", "4.20"))


def main() -> None:
    django.setup()
    from django.conf import settings

    print(json.dumps(build(settings.BRAZE_EXTRA_ENDPOINTS[0])))


def build(sandbox_url: str) -> dict[str, Any]:
    """An operator's usual morning: most is in Braze, one change was refused, one order's outcome is not known."""
    from masivo_braze.loyalty.models import Account, Audience, Customer

    account = _account(sandbox_url)
    customers = [_customer(account, number, name) for number, name in enumerate(NAMES)]
    audience = Audience.objects.create(account=account, name="Regulars", audience_id="regulars")
    audience.customers.add(*customers[:5])
    order, *_ = [_order(customer, number) for number, customer in enumerate(customers)]
    _sync(account.pk)
    _fail(account, customers[1], sandbox_url)
    Customer.objects.filter(pk=customers[2].pk).update(city="Medellín")
    _fix_times()
    other = Account.objects.create(name="Nord Outdoor", slug="nord-outdoor", currency="EUR", time_zone="Europe/Berlin")
    _people(account, other)
    braze = _finish_settings(account, other)
    traffic.add(account)
    keys = {"settings": braze, "customer": customers[0].pk, "order": order, "audience": audience.pk}
    return keys | _failed()


def _account(sandbox_url: str) -> Any:
    from dev.sample import TOGGLES
    from integrations.braze.models import BrazeSettings
    from masivo_braze.loyalty.models import Account

    account = Account.objects.create(
        name="Café Primavera", slug="primavera", currency="USD", time_zone="America/Bogota"
    )
    BrazeSettings.objects.create(
        account=account, is_enabled=True, api_key=KEY, rest_endpoint=sandbox_url, attribute_gap_seconds=0,
        unknown_events="hold", **dict.fromkeys(TOGGLES, True),
    )  # fmt: skip
    return account


def _customer(account: Any, number: int, name: str) -> Any:
    from masivo_braze.loyalty.models import Customer

    first, last = name.split()
    return Customer.objects.create(
        account=account, external_id=f"C-{1001 + number}", first_name=first, last_name=last, city="Bogotá",
        email=f"{first.lower()}@example.com", country="CO", language="es", tier=("gold", "silver")[number % 2],
        points=120 * (number + 1), tags={"favourite": ("espresso", "filter")[number % 2]},
    )  # fmt: skip


def _order(customer: Any, number: int) -> int:
    from masivo_braze.loyalty.models import Order, OrderLine

    when = MOMENT - timedelta(hours=number + 1)
    order = Order.objects.create(
        account=customer.account, customer=customer, order_id=f"A-{5001 + number}", status="FULFILLED",
        placed_at=when, fulfilled_at=when, channel="web",
    )  # fmt: skip
    for sku, name, value in PRODUCTS:
        OrderLine.objects.create(order=order, sku=sku, name=name, value=value)
    return int(order.pk)


def _sync(account_id: int) -> None:
    """Relay and flush in this process until nothing moves."""
    from integrations.braze.composing import relay
    from integrations.braze.delivery import flush

    while relay.relay(account_id) or flush.refill(account_id):
        if not flush.flush(account_id):
            return


def _fail(account: Any, customer: Any, sandbox_url: str) -> None:
    """An event that Braze refuses, and one whose answer is lost."""
    from dev.sandbox import Sandbox
    from integrations.braze.models import BrazeState
    from masivo_braze.loyalty.models import Event

    sandbox = Sandbox(sandbox_url)
    refusal = {"status": 400, "contains": "COFFEE_TASTING", "message": "The event's name is blocklisted"}
    for fault, kind in ((refusal, "COFFEE_TASTING"), ({"close": "after", "times": 1}, "STORE_VISIT")):
        sandbox.set_faults(fault)
        Event.objects.create(
            account=account, customer=customer, type=kind, occurred_at=MOMENT, data={"store": "Centro"}
        )
        _sync(account.pk)
        BrazeState.objects.update(backoff_until=None, failures=0, last_error="")
    sandbox.set_faults()


def _failed() -> dict[str, Any]:
    """The refused change, and the request whose answer was lost."""
    from integrations.outbox.models import OutboxEntry

    unknown = OutboxEntry.objects.filter(status="unknown").earliest("pk")
    return {"failed": OutboxEntry.objects.filter(status="rejected").earliest("pk").pk, "request": str(unknown.batch)}


def _fix_times() -> None:
    """Rows get the times, and requests the ids, that they have in each run."""
    from django.db.models import Max, QuerySet  # its update captures nothing, unlike the managers' own

    from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery
    from integrations.outbox.models import OutboxEntry
    from masivo_braze.loyalty.models import Customer, Membership

    for number, entry in enumerate(OutboxEntry.objects.order_by("pk")):
        at = MOMENT - timedelta(minutes=40) + timedelta(seconds=31 * number)
        OutboxEntry.objects.filter(pk=entry.pk).update(created_at=at)
    for number, request in enumerate(list(Delivery.objects.order_by("created_at"))):
        mine = OutboxEntry.objects.filter(batch=request.pk)
        last = mine.aggregate(at=Max("created_at"))["at"] or MOMENT - timedelta(minutes=40 - number)
        old, at = request.pk, last + timedelta(milliseconds=350)
        mine.filter(settled_at__isnull=False).update(settled_at=at + timedelta(milliseconds=410))
        request.pk = uuid5(NAMESPACE_URL, f"request {number}")
        request.created_at, request.started_at = at, at + timedelta(milliseconds=120)
        request.finished_at = at + timedelta(milliseconds=410)
        request.save(force_insert=True)
        OutboxEntry.objects.filter(batch=old).update(batch=request.pk)
        BrazePurchase.objects.filter(delivery_id=old).update(delivery_id=request.pk)
        Delivery.objects.filter(pk=old).delete()
    BrazeProfile.objects.filter(last_accepted_at__isnull=False).update(last_accepted_at=MOMENT)
    QuerySet(Customer).update(created_at=MOMENT - timedelta(days=90), updated_at=MOMENT)
    QuerySet(Membership).update(joined_at=MOMENT - timedelta(days=30))


def _people(account: Any, other: Any) -> None:
    from django.contrib.auth.models import Group, User

    from dev.first_run import LOGIN, PASSWORD

    User.objects.create_superuser(LOGIN, "admin@example.com", PASSWORD)
    for name, group, accounts in (("maria", "Operator", [account]), ("tom", "Viewer", [account, other])):
        person = User.objects.create_user(name, f"{name}@example.com", is_staff=True)
        person.groups.add(Group.objects.get(name=group))
        for each in accounts:
            each.members.add(person)


def _finish_settings(account: Any, other: Any) -> int:
    """What the settings pages show: an address of Braze's own, which nothing in this stack ever calls; a history."""
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import User
    from django.db.models import QuerySet  # its update puts nothing in force

    from integrations.braze.models import BrazeSettings

    BrazeSettings.objects.create(account=other)
    mine = BrazeSettings.objects.get(account=account)
    changed = {"rest_endpoint": ENDPOINT, "key_changed_at": MOMENT - timedelta(days=12)}
    QuerySet(BrazeSettings).filter(pk=mine.pk).update(**changed)
    for words, at in _history():
        LogEntry.objects.log_actions(User.objects.get(username="maria").pk, [mine], 2, words, single_object=True)
        LogEntry.objects.filter(change_message=words).update(action_time=at)
    return int(mine.pk)


def _history() -> Iterator[tuple[str, datetime]]:
    start = MOMENT - timedelta(days=12)
    yield f"API key replaced; REST endpoint: nothing → {ENDPOINT}", start
    yield (
        "Tested the connection. Connected to EU-01, European Union: rest.fra-01.braze.eu.",
        start + timedelta(minutes=1),
    )
    yield "Enabled: off → on; Purchases: off → on", start + timedelta(minutes=4)


if __name__ == "__main__":
    main()

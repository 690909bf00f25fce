"""A shop to measure with: an account that sends everything, and captured changes of each sort."""

import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model  # noqa: F401  # the app registry is up
from django.db import connection
from django.utils import timezone

from dev.sample import TOGGLES
from integrations.braze.models import BrazeSettings, BrazeState
from integrations.outbox import oldest
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

CHUNK = 10_000
#: Between two looks whether all is settled, at most; and in shares of what has been waited, so that a short drain is
#: measured as exactly as a long one. Looks cost: the database passes over a backlog's dead rows at each.
POLL_SECONDS, POLL_SHARE = 0.1, 0.02
COLOURS = ("red", "green", "blue", "black", "white")


def account(slug: str, endpoint: str, **settings: Any) -> Account:
    """With all toggles on, and a gap of 0: one process edits its customers faster than people do."""
    made = Account.objects.create(name=slug.title(), slug=slug, currency="USD")
    fields = {"api_key": f"key-{slug}", "rest_endpoint": endpoint, "is_enabled": True, "attribute_gap_seconds": 0.0}
    BrazeSettings.objects.create(account=made, **fields | dict.fromkeys(TOGGLES, True) | settings)
    return made


def idle_accounts(count: int) -> None:
    """With settings that are switched off, and nothing captured."""
    made = Account.objects.bulk_create(Account(name=f"Idle {n}", slug=f"idle-{n}") for n in range(count))
    BrazeSettings.objects.bulk_create(BrazeSettings(account=account) for account in made)


def pause(account: Account) -> None:
    """Captured changes wait until `resume`."""
    BrazeState.objects.filter(account=account).update(paused_at=timezone.now(), pause_kind="refused")


def is_moving(account: Account) -> bool:
    """Whether anything is pending or on its way; the first of either, by the index for it.

    "Any that exists" would be looked for through the whole table, by statistics from when all was pending.
    """
    busy = OutboxEntry.objects.filter(account=account, integration="braze", status="buffered")
    is_pending = oldest.first_pending(account.pk, "braze") is not None
    return is_pending or bool(busy.order_by("customer_external_id").values_list("pk")[:1])


def seconds_until_settled(*accounts: Account, most: float = float("inf")) -> float:
    """Waits, `most` seconds at most; how long that was."""
    begun = time.perf_counter()
    while (waited := time.perf_counter() - begun) < most and any(map(is_moving, accounts)):
        time.sleep(min(POLL_SECONDS, waited * POLL_SHARE))
    return waited


def count_rows() -> None:
    """The database does so now and then; here, where the rows are new, before a measurement begins.

    Not the outbox: that is drained as often with counts from when nothing was pending as with any others.
    """
    tables = [model._meta.db_table for model in apps.get_models() if model._meta.app_label in ("loyalty", "braze")]
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(tables)}")


def resume(account: Account) -> None:
    BrazeSettings.objects.get(account=account).save()


def customers(account: Account, count: int) -> list[Customer]:
    made = []
    for start in range(0, count, CHUNK):
        made += Customer.objects.bulk_create(
            customer(account, number) for number in range(start, min(start + CHUNK, count))
        )
    return made


def customer(account: Account, number: int) -> Customer:
    return Customer(
        account=account,
        external_id=f"c-{number:07}",
        email=f"c{number}@example.com",
        phone=f"+1415555{number % 10_000:04}",
        first_name="Ada",
        last_name=f"Lovelace {number}",
        gender="FEMALE",
        birth_date=datetime(1985, 3, 14).date(),
        country="US",
        city="San Francisco",
        language="en",
        time_zone="America/Los_Angeles",
        tier="gold",
        points=Decimal(number % 5_000),
        tags={"vip": number % 7 == 0, "visits": number % 50, "colour": COLOURS[number % 5]},
    )


def event_data(chance: random.Random) -> dict[str, Any]:
    """As a shop's tracking sends it: nested, about a dozen properties."""
    return {
        "page": {"url": f"https://shop.example/p/{chance.randrange(5_000)}", "title": "A product", "referrer": None},
        "cart": {"value": chance.randrange(100, 50_000) / 100, "items": chance.randrange(1, 9), "currency": "USD"},
        "products": [{"sku": f"S{chance.randrange(900)}", "quantity": 1, "price": 9.99}],
        "channel": "web",
        "is_logged_in": True,
        "utm": {"source": "newsletter", "campaign": "spring"},
    }


def events(account: Account, of: list[Customer], count: int, seed: int = 1) -> None:
    chance = random.Random(seed)
    for start in range(0, count, CHUNK):
        Event.objects.bulk_create(
            Event(
                id=uuid.UUID(int=chance.getrandbits(128), version=4),
                account=account,
                customer=chance.choice(of),
                type="ADD_TO_CART",
                occurred_at=datetime(2026, 3, 1, tzinfo=UTC),
                data=event_data(chance),
            )
            for _ in range(start, min(start + CHUNK, count))
        )


def edits(of: list[Customer], count: int, seed: int = 2) -> None:
    """Two attributes and a tag each, of `count` different customers."""
    chance = random.Random(seed)
    chosen = chance.sample(of, count)
    for one in chosen:
        one.points += chance.randrange(1, 500)
        one.tier = chance.choice(("silver", "gold", "platinum", "bronze"))
        one.tags = {**one.tags, "visits": chance.randrange(10_000)}
    for start in range(0, count, 2_000):
        Customer.objects.bulk_update(chosen[start : start + 2_000], ["points", "tier", "tags"])


def orders(account: Account, of: list[Customer], count: int, seed: int = 3) -> None:
    """Fulfilled orders of one to three lines. Lines first would be an order without them: both in one transaction."""
    from django.db import transaction

    chance, moment = random.Random(seed), datetime(2026, 3, 1, tzinfo=UTC)
    for start in range(0, count, 5_000):
        made = [
            Order(
                account=account, customer=chance.choice(of), order_id=f"o-{seed}-{number:07}", status="FULFILLED",
                placed_at=moment, fulfilled_at=moment, channel="web", store="Main Street", payment_method="card",
            )
            for number in range(start, min(start + 5_000, count))
        ]  # fmt: skip
        with transaction.atomic():
            Order.objects.bulk_create(made)
            OrderLine.objects.bulk_create(line for order in made for line in lines(order, chance))


def lines(order: Order, chance: random.Random) -> Iterator[OrderLine]:
    for position in range(1, chance.randrange(2, 5)):
        value = Decimal(chance.randrange(100, 20_000)) / 100
        yield OrderLine(
            order=order, position=position, sku=f"S{chance.randrange(900)}", name="A product",
            quantity=chance.randrange(1, 4), value=value, data={"colour": chance.choice(COLOURS)},
        )  # fmt: skip

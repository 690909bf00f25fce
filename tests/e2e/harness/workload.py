"""`python -m tests.e2e.harness.workload`: writes a seeded random workload for several accounts, as a shop would."""

import argparse
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import django

from tests.e2e.harness import scenario


@dataclass
class Shop:
    """One account, and what the workload knows of it."""

    account: "Account"
    audiences: list["Audience"]
    alive: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    open_orders: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    made: int = 0
    is_off: bool = False
    off: list[list[datetime]] = field(default_factory=list)
    made_while_off: list[str] = field(default_factory=list)


def set_up(endpoint: str, is_limited: bool) -> list[Shop]:
    from dev.sample import TOGGLES

    shops = []
    for number, peculiar in enumerate(scenario.ACCOUNTS):
        account = Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}")
        settings = {"attribute_gap_seconds": 0.2, **dict.fromkeys(TOGGLES, True), **peculiar}
        settings |= {"calls_per_window": scenario.CALLS_PER_WINDOW} if is_limited else {}
        BrazeSettings.objects.create(account=account, is_enabled=True, rest_endpoint=endpoint, **settings)
        audiences = [Audience.objects.create(account=account, name=f"Club {n}") for n in range(2)]
        shops.append(Shop(account, audiences))
    return shops


def create(shop: Shop, chance: random.Random) -> None:
    shop.made += 1
    _create(shop, scenario.external_id(shop.account.slug, shop.made), chance)


def create_again(shop: Shop, chance: random.Random) -> None:
    if shop.dead:
        _create(shop, shop.dead.pop(chance.randrange(len(shop.dead))), chance)


def _create(shop: Shop, external_id: str, chance: random.Random) -> None:
    tags = {"size": chance.randrange(5)} if chance.random() < 0.5 else {}
    Customer.objects.create(account=shop.account, external_id=external_id, first_name=_word(chance), tags=tags)
    shop.alive.append(external_id)


def edit(shop: Shop, chance: random.Random) -> None:
    one = _somebody(shop, chance)
    one.first_name, one.tier = _word(chance), chance.choice(["", "gold", "silver"])
    one.save()


def tag(shop: Shop, chance: random.Random) -> None:
    one = _somebody(shop, chance)
    key = chance.choice(["size", "vip", "colour"])
    if key in one.tags:
        del one.tags[key]
    else:
        one.tags[key] = chance.choice([True, 3, "blue"])
    one.save()


def edit_many(shop: Shop, chance: random.Random) -> None:
    some = chance.sample(shop.alive, min(5, len(shop.alive)))
    Customer.objects.filter(account=shop.account, external_id__in=some).update(city=_word(chance))


def join_or_leave(shop: Shop, chance: random.Random) -> None:
    audience, one = chance.choice(shop.audiences), _somebody(shop, chance)
    if audience.customers.filter(pk=one.pk).exists():
        audience.customers.remove(one)
    else:
        audience.customers.add(one)


def rename_audience(shop: Shop, chance: random.Random) -> None:
    audience = chance.choice(shop.audiences)
    audience.name = f"Club {_word(chance)}"
    audience.save()


def event(shop: Shop, chance: random.Random) -> None:
    _events(shop, _somebody(shop, chance), chance.choice([1, 1, 1, 4]))


def _events(shop: Shop, one: "Customer", count: int) -> None:
    """Each customer's events are numbered in the order of their commits."""
    for _ in range(count):
        number = shop.counters[one.external_id] = shop.counters.get(one.external_id, 0) + 1
        made = Event(id=uuid.uuid4(), account=shop.account, customer=one, type="STEP", data={"n": number})
        if shop.is_off:
            shop.made_while_off.append(str(made.id))
        made.save()


def order(shop: Shop, chance: random.Random) -> None:
    one, order_id = _somebody(shop, chance), f"{shop.account.slug}-o{shop.made}-{chance.randrange(10**9)}"
    with transaction.atomic():
        made = Order.objects.create(account=shop.account, customer=one, order_id=order_id, status="FULFILLED")
        for _ in range(chance.randint(1, 3)):
            value = Decimal(chance.randrange(0, 9_999)) / 100
            OrderLine.objects.create(order=made, sku="CD", quantity=chance.randint(1, 5), value=value)
    shop.open_orders.append(order_id)


def reverse(shop: Shop, chance: random.Random) -> None:
    if not shop.open_orders:
        return
    order_id = shop.open_orders.pop(chance.randrange(len(shop.open_orders)))
    for made in Order.objects.filter(account=shop.account, order_id=order_id):
        made.status = "REVERSED"
        made.save()


def reverse_far_behind(shop: Shop, chance: random.Random) -> None:
    """An order is saved again, with nothing new to send; more events than a request holds follow; then its reversal."""
    if not shop.open_orders:
        return
    order_id = shop.open_orders.pop(chance.randrange(len(shop.open_orders)))
    with transaction.atomic():
        for made in Order.objects.filter(account=shop.account, order_id=order_id).select_related("customer"):
            made.store = "Rome"
            made.save()
            _events(shop, made.customer, 90)
            made.status = "REVERSED"
            made.save()


def delete(shop: Shop, chance: random.Random) -> None:
    one = _somebody(shop, chance)
    one.delete()
    shop.alive.remove(one.external_id)
    shop.dead.append(one.external_id)


def flip_events(shop: Shop, chance: random.Random) -> None:
    """One shop switches its events off and on. The interval is what lies between the two commits, or less."""
    if shop.account.slug != scenario.FLIPPED:
        return
    if shop.is_off:
        shop.off[-1].append(database_now())
    _stubbornly(lambda: _set_events(shop, shop.is_off))
    shop.is_off = not shop.is_off
    if shop.is_off:
        shop.off.append([database_now()])


def _set_events(shop: Shop, is_on: bool) -> None:
    settings = BrazeSettings.objects.get(account=shop.account)
    settings.sync_events = is_on
    settings.save()


#: What a step does, and how often.
STEPS = {
    create: 10,
    edit: 14,
    tag: 10,
    edit_many: 2,
    join_or_leave: 8,
    rename_audience: 0.3,
    event: 30,
    order: 14,
    reverse: 6,
    reverse_far_behind: 1.5,
    delete: 1.5,
    create_again: 1,
    flip_events: 4,
}


def run(shops: list[Shop], seed: int, steps: int) -> None:
    chance = random.Random(seed)
    for shop in shops:
        for _ in range(3):
            create(shop, chance)
    for step in chance.choices(list(STEPS), list(STEPS.values()), k=steps):
        try:
            step(chance.choice(shops), chance)
        except (
            DatabaseError
        ):  # it crashed: whether the step was committed, nobody knows, and nothing here depends on it
            reconnect()
    for shop in shops:
        if shop.is_off:
            _stubbornly(lambda shop=shop: flip_events(shop, chance))


def report(shops: list[Shop], path: Path) -> None:
    (flipped,) = (shop for shop in shops if shop.account.slug == scenario.FLIPPED)
    off = [[moment.isoformat() for moment in interval] for interval in flipped.off if len(interval) == 2]
    path.write_text(json.dumps({"off": off, "made_while_off": flipped.made_while_off}))


def reconnect() -> None:
    close_old_connections()
    time.sleep(0.2)


def _stubbornly(step: Callable[[], None]) -> None:
    """Until it is committed: the steps after this one depend on it."""
    for _ in range(50):
        try:
            return step()
        except DatabaseError:
            reconnect()
    raise RuntimeError("the database does not come back")


def _somebody(shop: Shop, chance: random.Random) -> "Customer":
    """Recently made customers more often: a few have hundreds of changes in a row."""
    while shop.alive:
        external_id = chance.choice(shop.alive[-4:] if chance.random() < 0.5 else shop.alive)
        if found := Customer.objects.filter(account=shop.account, external_id=external_id).first():
            return found
        shop.alive.remove(external_id)  # its deletion was committed, though the database crashed before it said so
    create(shop, chance)
    return _somebody(shop, chance)


def _word(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefgh", k=6))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    django.setup()
    from django.db import DatabaseError, close_old_connections, transaction

    from integrations.braze.models import BrazeSettings
    from integrations.outbox.clock import database_now
    from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

    shops = set_up(options.endpoint, scenario.is_limited(options.seed))
    try:
        run(shops, options.seed, options.steps)
    finally:
        report(shops, options.report)

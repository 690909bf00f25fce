"""`python -m tests.e2e.harness.workload`: writes a seeded random workload for several accounts, as a shop would."""

import argparse
import random
from dataclasses import dataclass, field
from decimal import Decimal

import django

ACCOUNTS = 5
#: What differs between the accounts; the rest is alike.
PECULIARITIES: list[dict[str, object]] = [
    {},
    {"unknown_purchases": "resend"},
    {"unknown_events": "hold"},
    {"batch_limit": "combined"},
    {"attribute_gap_seconds": 0.0},
]


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


def set_up(endpoint: str) -> list[Shop]:
    from dev.sample import TOGGLES

    shops = []
    for number, peculiar in enumerate(PECULIARITIES):
        account = Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}")
        settings = {"attribute_gap_seconds": 0.2, **dict.fromkeys(TOGGLES, True), **peculiar}
        BrazeSettings.objects.create(
            account=account, is_enabled=True, api_key=f"key-{number}", rest_endpoint=endpoint, **settings
        )
        audiences = [Audience.objects.create(account=account, name=f"Club {n}") for n in range(2)]
        shops.append(Shop(account, audiences))
    return shops


def create(shop: Shop, chance: random.Random) -> None:
    shop.made += 1
    _create(shop, f"{shop.account.slug}-c{shop.made}", chance)


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
    """Each customer's events are numbered in the order of their commits."""
    one = _somebody(shop, chance)
    for _ in range(chance.choice([1, 1, 1, 4])):
        number = shop.counters[one.external_id] = shop.counters.get(one.external_id, 0) + 1
        Event.objects.create(account=shop.account, customer=one, type="STEP", data={"n": number})


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


def delete(shop: Shop, chance: random.Random) -> None:
    one = _somebody(shop, chance)
    one.delete()
    shop.alive.remove(one.external_id)
    shop.dead.append(one.external_id)


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
    reverse: 4,
    delete: 1.5,
    create_again: 1,
}


def run(shops: list[Shop], seed: int, steps: int) -> None:
    chance = random.Random(seed)
    for shop in shops:
        for _ in range(3):
            create(shop, chance)
    for step in chance.choices(list(STEPS), list(STEPS.values()), k=steps):
        step(chance.choice(shops), chance)


def _somebody(shop: Shop, chance: random.Random) -> "Customer":
    """Recently made customers more often: a few have hundreds of changes in a row."""
    if not shop.alive:
        create(shop, chance)
    external_id = chance.choice(shop.alive[-4:] if chance.random() < 0.5 else shop.alive)
    return Customer.objects.get(account=shop.account, external_id=external_id)


def _word(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefgh", k=6))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    from django.db import transaction

    from integrations.braze.models import BrazeSettings
    from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine

    run(set_up(options.endpoint), options.seed, options.steps)

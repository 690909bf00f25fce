"""The other end of `Shop`: reads [action, arguments] lines, does what they say, answers with a JSON line."""

import json
import sys
import time
from typing import Any

import django

SLUG = "shop"


def create_account(endpoint: str) -> str:
    from dev.sample import create_account

    return create_account(SLUG, "Shop", endpoint).slug


def save_customers(number: int, prefix: str) -> float:
    from masivo_braze.loyalty.models import Account, Customer

    account = Account.objects.get(slug=SLUG)
    started = time.perf_counter()
    for position in range(number):
        Customer(account=account, external_id=f"{prefix}-{position}", first_name="Ana").save()
    return time.perf_counter() - started


def save_event(customer: str) -> str:
    from masivo_braze.loyalty.models import Customer, Event

    known = Customer.objects.get(account__slug=SLUG, external_id=customer)
    return str(Event.objects.create(account=known.account, customer=known, type="LOGIN").pk)


def status() -> dict[str, Any]:
    from dev.demo import ledger
    from masivo_braze.loyalty.models import Account

    return ledger.status(Account.objects.get(slug=SLUG))


def accounting() -> list[str]:
    from integrations.braze.reporting import accounting
    from masivo_braze.loyalty.models import Account

    return accounting.check(Account.objects.get(slug=SLUG).pk)


def main() -> None:
    django.setup()
    from django.db import connections

    actions = {action.__name__: action for action in (create_account, save_customers, save_event, status, accounting)}
    for line in sys.stdin:
        action, arguments = json.loads(line)
        print(json.dumps(actions[action](**arguments)), flush=True)
        connections.close_all()  # as after a request of a web process: the database may be another one by the next


if __name__ == "__main__":
    main()

"""The sample data of `make run` and `make demo`: a real shop's purchases, with some tags, events and two audiences.

The loyalty records come from the CDNOW file (`dev/data/README.md`); tags, events and audiences are computed from them.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from django.core.management import call_command
from django.db import transaction
from django.db.models import Min, QuerySet, Sum

from dev.processes import ROOT
from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeSettings
from masivo_braze.loyalty.models import Account, Audience, Customer, Event

CDNOW_FILE = ROOT / "dev" / "data" / "cdnow_sample.txt"
BIG_SPENDERS = "Big spenders"
NEW_IN_MARCH = "New in March 1997"
BIG_SPENDER_DOLLARS = 500
TAGGED_CUSTOMERS = 300
TOGGLES = tuple(TOPICS)


def ensure(slug: str, name: str, endpoint: str) -> None:
    """The account and its sample data, unless they are there; what an interrupted run left out is added."""
    account = Account.objects.filter(slug=slug).first() or create_account(slug, name, endpoint)
    if account.braze.rest_endpoint != endpoint and account.braze.rest_endpoint.startswith("http://127.0.0.1:"):
        account.braze.rest_endpoint = endpoint  # the sandbox has moved to another port
        account.braze.save()
    if not Audience.objects.filter(account=account, name=NEW_IN_MARCH).exists():
        print("Loading the sample data, once", flush=True)
        load(account)


@transaction.atomic
def create_account(slug: str, name: str, endpoint: str) -> Account:
    """An account with every toggle on, syncing to the sandbox at `endpoint`."""
    account = Account.objects.create(slug=slug, name=name, currency="USD")
    braze = BrazeSettings(account=account, is_enabled=True, api_key="sandbox-demo-key", rest_endpoint=endpoint)
    for toggle in TOGGLES:
        setattr(braze, toggle, True)
    braze.full_clean()
    braze.save()
    return account


def load(account: Account) -> None:
    """Fill `account`: customers and orders from the file, then what is computed from them."""
    call_command("import_loyalty", str(CDNOW_FILE), account=account.slug)
    add_tags(account)
    if not Event.objects.filter(account=account).exists():
        add_events(account)
    add_audiences(account)


def add_tags(account: Account) -> None:
    """`favourite` and `orders` on some customers."""
    customers = list(_customers(account)[:TAGGED_CUSTOMERS])
    for position, customer in enumerate(customers):
        customer.tags = {"favourite": ("jazz", "rock", "opera")[position % 3], "orders": customer.orders.count()}
    Customer.objects.bulk_update(customers, ["tags"])


def add_events(account: Account) -> None:
    """A visit of each tagged customer, and an internal event of some, which must never be forwarded."""
    moment = datetime(1998, 7, 1, 12, tzinfo=UTC)
    customers = list(_customers(account)[:TAGGED_CUSTOMERS])
    visits = [_event(customer, "VISIT", moment) for customer in customers]
    internal = [_event(customer, "REGISTRATION", moment) for customer in customers[:20]]
    Event.objects.bulk_create(visits + internal)


def add_audiences(account: Account) -> None:
    spenders = _customers(account).annotate(spent=Sum("orders__lines__value"))
    _audience(account, BIG_SPENDERS, spenders.filter(spent__gt=BIG_SPENDER_DOLLARS))
    newcomers = _customers(account).annotate(first=Min("orders__fulfilled_at"))
    march = (datetime(1997, 3, 1, tzinfo=UTC), datetime(1997, 4, 1, tzinfo=UTC))
    _audience(account, NEW_IN_MARCH, newcomers.filter(first__gte=march[0], first__lt=march[1]))


def _event(customer: Customer, kind: str, moment: datetime) -> Event:
    data = {"page": {"title": "Compact discs", "visit": customer.pk}}
    return Event(account=customer.account, customer=customer, type=kind, occurred_at=moment, data=data)


def _audience(account: Account, name: str, customers: Iterable[Customer]) -> None:
    audience, _ = Audience.objects.get_or_create(account=account, name=name)
    audience.customers.add(*customers)


def _customers(account: Account) -> QuerySet[Customer]:
    return Customer.objects.filter(account=account).select_related("account").order_by("external_id")

"""Two merchants with a record of every kind each, and people who are members of one of them."""

from importlib import import_module
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.utils import timezone

from integrations.braze.integration import TOPICS
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, Delivery, Outcome
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Membership, Order, OrderLine

#: In every name and id of the other merchant, and nowhere else.
SECRET = "rosebud"


GROUPS = import_module("integrations.braze.migrations.0003_console_groups")
MORE_GROUPS = import_module("integrations.braze.migrations.0007_pages_groups")


def person(username: str, group: str, *accounts: Account) -> User:
    user = User.objects.create_user(username, f"{username}@example.com", "a-password", is_staff=True)
    if not Group.objects.filter(name=group).exists():  # a test with a live server empties all tables
        GROUPS.create_groups(apps, "default")
        MORE_GROUPS.extend_groups(apps, "default")
    user.groups.add(Group.objects.get(name=group))
    for account in accounts:
        account.members.add(user)
    return user


def merchant(word: str) -> tuple[Account, dict[str, Any]]:
    """An account and the primary key of one of its records by `<app>_<model>`; `word` is in each of them."""
    account = Account.objects.create(name=f"{word} inc", slug=word)
    braze = BrazeSettings.objects.create(account=account, is_enabled=True, **dict.fromkeys(TOPICS, True))
    customer = Customer.objects.create(
        account=account, external_id=f"c-{word}", first_name=word, email=f"{word}@shop.example"
    )
    event = Event.objects.create(account=account, customer=customer, type=f"VISIT_{word}", data={"page": word})
    order = Order.objects.create(account=account, customer=customer, order_id=f"o-{word}", status="FULFILLED")
    line = OrderLine.objects.create(order=order, sku=f"s-{word}", value="12")
    audience = Audience.objects.create(account=account, name=f"a {word}", audience_id=f"a-{word}")
    audience.customers.add(customer)
    failed = _failed(account, customer.external_id, word)
    profile = BrazeProfile.objects.create(
        account=account, external_id=customer.external_id, attributes={"first_name": word}
    )
    purchase = BrazePurchase.objects.create(
        account=account, customer_external_id=customer.external_id, order_id=order.order_id, line=line.pk, part=1,
        purchase_id=f"p-{word}", product_id=f"s-{word}", price="12.00", currency="USD", quantity=1,
        time=timezone.now(), properties={"name": word}, fate="rejected", error=word,
    )  # fmt: skip
    return account, {
        "loyalty_account": account.pk,
        "loyalty_customer": customer.pk,
        "loyalty_event": event.pk,
        "loyalty_order": order.pk,
        "loyalty_orderline": line.pk,
        "loyalty_audience": audience.pk,
        "loyalty_membership": Membership.objects.get(audience=audience).pk,
        "outbox_outboxentry": failed.pk,
        "braze_failedsync": failed.pk,
        "braze_skippedsync": _skipped(account, customer.external_id, word).pk,
        "braze_delivery": failed.batch,
        "braze_brazepurchase": purchase.pk,
        "braze_brazeprofile": profile.pk,
        "braze_brazesettings": braze.pk,
    }


def _skipped(account: Account, customer: str, word: str) -> OutboxEntry:
    return OutboxEntry.objects.create(
        account=account, integration="braze", kind="event", customer_external_id=customer, status="skipped",
        error=f"skipped: {word}", settled_at=timezone.now(),
    )  # fmt: skip


def _failed(account: Account, customer: str, word: str) -> OutboxEntry:
    """A refused event, with the request that carried it."""
    now = timezone.now()
    request = Delivery.objects.create(
        account=account, endpoint="track", events=1, started_at=now, finished_at=now, status_code=400, answer=word,
        outcome=Outcome.REFUSED,
    )  # fmt: skip
    return OutboxEntry.objects.create(
        account=account, integration="braze", kind="event", customer_external_id=customer, status="rejected",
        error=f"refused: {word}", batch=request.pk, settled_at=now,
    )  # fmt: skip

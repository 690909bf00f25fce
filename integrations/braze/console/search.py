"""Finds what somebody asks about: by a customer's id or e-mail address, an order's id or an event's.

Only exact values, each by an index, and only in the accounts given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, Subquery

from integrations.braze.integration import entries_of
from integrations.braze.models import BrazeProfile, BrazePurchase, Delivery
from integrations.outbox.models import IN_ANY_STATE
from masivo_braze.loyalty.models import Account, Customer, Event, Order

#: Most records of one kind that are offered.
MOST = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A record that may have been sent. `name` is its id in words; `subject` is the key that its changes go by."""

    account: Account
    customer: str
    order: str = ""
    event: str = ""
    subject: str = ""

    @property
    def kind(self) -> str:
        return "order" if self.order else "event" if self.event else "customer"

    @property
    def name(self) -> str:
        return self.order or self.event or self.customer


def search(term: str, accounts: Sequence[Account]) -> list[Found]:
    """Everything that bears this id or address, customers first."""
    term, by_id = term.strip(), {account.pk: account for account in accounts}
    if not term or "\0" in term:
        return []
    return [*_customers(term, by_id), *_orders(term, by_id), *_events(term, by_id)]


def request_of(term: str, accounts: Sequence[Account]) -> UUID | None:
    """The id of a request is an answer of its own."""
    mine = Delivery.objects.filter(account__in=accounts, pk=pk) if (pk := uuid_of(term)) else Delivery.objects.none()
    return mine.values_list("pk", flat=True).first()


def customer(account: Account, external_id: str) -> Found:
    return Found(account, external_id)


def order(account: Account, external_id: str, order_id: str) -> Found:
    """An order that was deleted since is known by its purchases alone."""
    record = Order.objects.filter(account=account, order_id=order_id, customer__external_id=external_id).first()
    return Found(account, external_id, order=order_id, subject=str(record.pk) if record else "")


def event(account: Account, external_id: str, event_id: UUID) -> Found:
    return Found(account, external_id, event=str(event_id), subject=str(event_id))


def _customers(term: str, accounts: dict[int, Account]) -> list[Found]:
    """A customer who was deleted is known by what was captured, or sent, of them."""
    known: dict[tuple[int, str], None] = {}
    by_address = Customer.objects.filter(account__in=accounts, email__in={term, term.lower()}) if "@" in term else None
    for rows, name in (
        (Customer.objects.filter(account__in=accounts, external_id=term), "external_id"),
        (by_address, "external_id"),
        (BrazeProfile.objects.filter(account__in=accounts, external_id=term), "external_id"),
    ):
        found = rows.values_list("account_id", name)[:MOST] if rows is not None else ()
        known |= dict.fromkeys(found)
    known |= dict.fromkeys((account_id, term) for account_id in _with_changes_of(term, accounts))
    return [Found(accounts[account_id], external_id) for account_id, external_id in known]


def _with_changes_of(external_id: str, accounts: Iterable[int]) -> list[int]:
    """The accounts in which anything was captured of this customer.

    One look into the indexes per account, in one statement: a subquery with a limit is never turned into a join.
    """
    of_account = entries_of(OuterRef("pk"))
    first = of_account.filter(IN_ANY_STATE, customer_external_id=external_id).order_by().values("pk")[:1]
    found = Account.objects.filter(pk__among=accounts).order_by("pk").annotate(first=Subquery(first))
    return [pk for pk, entry in found.values_list("pk", "first") if entry is not None]


def _orders(term: str, accounts: dict[int, Account]) -> list[Found]:
    orders = Order.objects.filter(account__in=accounts, order_id=term)
    known = {
        (account_id, external_id): str(pk)
        for pk, account_id, external_id in orders.values_list("pk", "account_id", "customer__external_id")[:MOST]
    }
    purchases = BrazePurchase.objects.filter(account__in=accounts, order_id=term).order_by()
    for account_id, external_id in purchases.values_list("account_id", "customer_external_id").distinct()[:MOST]:
        known.setdefault((account_id, external_id), "")
    return [
        Found(accounts[account_id], external_id, order=term, subject=subject)
        for (account_id, external_id), subject in known.items()
    ]


def _events(term: str, accounts: dict[int, Account]) -> list[Found]:
    if (pk := uuid_of(term)) is None:
        return []
    events = Event.objects.filter(account__in=accounts, pk=pk).values_list("account_id", "customer__external_id")
    return [
        Found(accounts[account_id], external_id, event=str(pk), subject=str(pk)) for account_id, external_id in events
    ]


def uuid_of(term: str) -> UUID | None:
    """The id of an event, or of a request, that this is; None where it can be none."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None

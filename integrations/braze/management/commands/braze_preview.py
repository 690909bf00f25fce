"""`manage.py braze_preview --account SLUG (--customer ID | --event UUID | --order ID)`: what would be sent now."""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from integrations.braze.composing import preview
from masivo_braze.arguments import typed
from masivo_braze.loyalty.models import Account, Customer, Event, Order


class Command(BaseCommand):
    help = "Shows, as JSON, what Braze would be sent now for a customer, an event or an order. Sends nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", type=typed, required=True, metavar="SLUG")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--customer", type=typed, metavar="ID", help="the merchant's id of a customer")
        what.add_argument("--event", type=typed, metavar="UUID", help="the id of an event")
        what.add_argument("--order", type=typed, metavar="ID", help="the merchant's id of an order")

    def handle(self, *args: Any, **options: Any) -> None:
        account = _only(Account.objects.filter(slug=options["account"]), f"no account {options['account']}")
        self.stdout.write(json.dumps(_preview(account, options).as_json(), indent=2, ensure_ascii=False))


def _preview(account: Account, options: dict[str, Any]) -> preview.Preview:
    if options["customer"] is not None:
        found = Customer.objects.filter(account=account, external_id=options["customer"])
        return preview.customer(_only(found, f"no customer {options['customer']}"))
    if options["order"] is not None:
        return preview.order(_only(Order.objects.filter(account=account, order_id=options["order"]), "no such order"))
    try:
        events = Event.objects.filter(account=account, pk=options["event"])
    except ValidationError as error:
        raise CommandError(f"{options['event']} is not the id of an event") from error
    return preview.event(_only(events, f"no event {options['event']}"))


def _only(found: "QuerySet[Any]", why_not: str) -> Any:
    record = found.first()
    if record is None:
        raise CommandError(f"There is {why_not}.")
    return record

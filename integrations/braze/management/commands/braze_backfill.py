"""`manage.py braze_backfill --account SLUG`: sends what an account already has."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.braze.integration import BrazeIntegration
from integrations.braze.recovery import backfill
from masivo_braze.arguments import typed
from masivo_braze.loyalty.models import Account


class Command(BaseCommand):
    help = (
        "Captures every customer, event, fulfilled order and audience membership of an account, as its toggles are "
        "now, to be sent like any change. Running it again sends nothing twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", type=typed, metavar="SLUG", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        account = Account.objects.filter(slug=options["account"]).first()
        if account is None:
            raise CommandError(f"There is no account “{options['account']}”.")
        if not BrazeIntegration().wants(account.pk):
            raise CommandError(f"Nothing of {account.slug} is synced: enable Braze and switch on what is to be sent.")
        steps = {step.name: step for step in backfill.backfill(account.pk)}
        for name, step in steps.items():
            self.stdout.write(f"{name}: {step.captured:,} captured of {step.seen:,}")

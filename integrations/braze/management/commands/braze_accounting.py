"""`manage.py braze_accounting [--account SLUG]`: whether every captured change is somewhere, and only there."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.braze.models import BrazeSettings
from integrations.braze.reporting import accounting
from integrations.outbox.models import Status
from masivo_braze.arguments import typed


class Command(BaseCommand):
    help = "Compares captured changes, requests and purchases with each other; exit 1 where they do not balance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account", type=typed, help="Slug of one account; all that have Braze settings where not given."
        )
        parser.add_argument(
            "--strict", action="store_true", help="exit 1, too, where an order's lines were edited after they were sent"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        every = BrazeSettings.objects.select_related("account").order_by("account__slug")
        if options["account"] is not None:
            every = every.filter(account__slug=options["account"])
            if not every:
                raise CommandError(f"No account “{options['account']}” has Braze settings.")
        balanced = [self._balances(one.account.slug, one.account_id, options["strict"]) for one in every]
        if not all(balanced):
            sys.exit(1)

    def _balances(self, slug: str, account_id: int, is_strict: bool) -> bool:
        with accounting.at_one_moment():
            counts, wrong = accounting.count(account_id), accounting.check(account_id)
            differing = list(accounting.revenue(account_id))
        ends = " + ".join(f"{counts[status]:,} {status}" for status in _ORDER)
        on_the_way = counts[Status.PENDING] + counts[Status.BUFFERED]
        self.stdout.write(f"{slug}: {counts['captured']:,} captured = {ends} + {on_the_way:,} on the way")
        for line in wrong:
            self.stdout.write(self.style.ERROR(f"{slug}: {line}"))
        for line in differing:
            self.stdout.write(self.style.WARNING(f"{slug}: edited since? {line}"))
        return not wrong and not (differing and is_strict)


_ORDER = (Status.DELIVERED, Status.SKIPPED, Status.REJECTED, Status.UNKNOWN, Status.DISCARDED)

"""Resumes accounts after their database was restored from a backup."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from integrations.braze.models import BrazeState
from integrations.braze.models.account import PauseKind
from integrations.braze.recovery import restored


class Command(BaseCommand):
    help = (
        "After a database was restored from a backup: events and purchases captured since then and not settled are "
        "held as unknown, since they may have been sent; attributes are sent again; paused accounts go on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", required=True, help="When the backup was taken, e.g. 2026-11-23T09:30:00Z.")
        parser.add_argument("--account", help="Slug of one account; all that noticed the loss where not given.")

    def handle(self, *args: Any, **options: Any) -> None:
        since = _moment(options["since"])
        states = BrazeState.objects.filter(pause_kind=PauseKind.RESTORED).select_related("account")
        if options["account"]:
            states = states.filter(account__slug=options["account"])
        if not states:
            raise CommandError("No account is paused because of a restored database.")
        for state in states:
            found = restored.resume(state.account_id, since)
            self.stdout.write(f"{state.account.slug}: " + ", ".join(f"{n} {what}" for what, n in found.items()))


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None:
        raise CommandError(f"“{text}” is not a time such as 2026-11-23T09:30:00Z.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)

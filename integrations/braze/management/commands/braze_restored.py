"""Resumes accounts after their database was restored from a backup."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from integrations.braze.models import BrazeState
from integrations.braze.models.account import PauseKind
from integrations.braze.recovery import restored
from integrations.outbox.clock import database_now
from masivo_braze.arguments import typed
from masivo_braze.loyalty.models import Account


class Command(BaseCommand):
    help = (
        "After a database was restored from a backup: events and orders that were open when the loss was noticed, and "
        "all that Braze had refused, are held as unknown, since they may have been sent; attributes are sent again; "
        "paused accounts go on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            required=True,
            help="When the backup was taken, e.g. 2026-11-23T09:30:00Z (UTC where no offset is given): what is held "
            "says so. What is held does not depend on it.",
        )
        parser.add_argument(
            "--account", type=typed, help="Slug of one account; all that noticed the loss where not given."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since = _moment(options["since"])
        for state in _paused(options["account"]):
            found = restored.resume(state.account_id, since)
            self.stdout.write(f"{state.account.slug}: " + ", ".join(f"{n} {what}" for what, n in found.items()))


def _paused(slug: str | None) -> "QuerySet[BrazeState]":
    states = BrazeState.objects.filter(pause_kind=PauseKind.RESTORED).select_related("account")
    if slug is None:
        if not states:
            raise CommandError("No account is paused because of a restored database.")
        return states
    if not Account.objects.filter(slug=slug).exists():
        raise CommandError(f"There is no account “{slug}”.")
    states = states.filter(account__slug=slug)
    if not states:
        raise CommandError(f"{slug} is not paused because of a restored database.")
    return states


def _moment(text: str) -> datetime:
    """In UTC."""
    try:
        moment = parse_datetime(text)
        moment = moment and (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(UTC)
    except (ValueError, OverflowError):  # the 45th of a month; a time that has left the calendar in UTC
        moment = None
    if moment is None:
        raise CommandError(f"“{text}” is not a time such as 2026-11-23T09:30:00Z.")
    if moment > database_now():
        raise CommandError(f"“{text}” is still to come: --since is when the backup was taken.")
    return moment

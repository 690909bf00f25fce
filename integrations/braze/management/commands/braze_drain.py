"""`manage.py braze_drain [--account SLUG] [--timeout S]`: sends what is waiting, in this process."""

from argparse import ArgumentTypeError
from contextlib import suppress
from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.braze.delivery import connection
from integrations.braze.erasure import scrubbing
from integrations.braze.models import BrazeSettings
from integrations.braze.recovery import drain
from integrations.braze.recovery.drain import Rest
from masivo_braze.arguments import typed
from masivo_braze.loyalty.models import Account

#: Some thirty years: moments further away leave the calendar.
MOST_SECONDS = 1e9


class Command(BaseCommand):
    help = (
        "Relays and flushes in this process until nothing is pending or buffered. "
        "Exit code 0: what is left, if anything, waits by rule and is named. 1: time is up, or an account cannot send."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--account", type=typed, metavar="SLUG", help="this account alone; all that have settings otherwise"
        )
        parser.add_argument("--timeout", metavar="S", type=_seconds, default=60.0, help="seconds (default: 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = _accounts(options["account"])
        try:
            left = drain.drain(list(slugs), options["timeout"])
        except redis.RedisError as error:
            why = connection.in_words(error)
            message = f"Redis cannot be used ({why}): start it, or check REDIS_URL. Nothing is lost."
            raise CommandError(message) from error
        scrubbing.work_off()
        set_up = set(BrazeSettings.objects.filter(account_id__in=slugs).values_list("account_id", flat=True))
        for account_id, rest in left.items():
            self.stdout.write("\n".join(_lines(slugs[account_id], rest, account_id in set_up)))
        if any(rest.moving or rest.stuck for rest in left.values()):
            raise CommandError("Not drained.")


def _accounts(slug: str | None) -> dict[int, str]:
    accounts = Account.objects.filter(braze__isnull=False) if slug is None else Account.objects.filter(slug=slug)
    slugs = dict(accounts.order_by("slug").values_list("pk", "slug"))
    if slug is not None and not slugs:
        raise CommandError(f"There is no account “{slug}”.")
    return slugs


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < MOST_SECONDS:
            return seconds
    raise ArgumentTypeError("expected seconds from 0 up")


def _lines(slug: str, rest: Rest, is_set_up: bool) -> list[str]:
    lines = []
    if rest.moving:
        lines.append(f"{slug}: time is up with {_changes(rest.moving)} still on their way, the account is {rest.state}")
    if rest.stuck:
        lines.append(f"{slug}: {_changes(rest.stuck)} cannot be sent, the account is {rest.state}")
    if rest.waiting:
        lines.append(f"{slug}: {_changes(rest.waiting)} waiting by rule, among them")
        lines += [f"  {why}" for why in rest.why_waiting]
    if not lines and not is_set_up:
        return [f"{slug}: has no Braze settings, so that nothing of it is sent"]
    return lines or [f"{slug}: drained"]


def _changes(number: int) -> str:
    return f"{number:,} change{'' if number == 1 else 's'}"

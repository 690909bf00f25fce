"""`manage.py braze_drain [--account SLUG] [--timeout S]`: sends what is waiting, in this process."""

from typing import Any

import redis
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.braze.erasure import scrubbing
from integrations.braze.recovery import drain
from integrations.braze.recovery.drain import Rest
from masivo_braze.loyalty.models import Account


class Command(BaseCommand):
    help = (
        "Relays and flushes in this process until nothing is pending or buffered. "
        "Exit code 0: what is left, if anything, waits by rule and is named. 1: time is up, or an account cannot send."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", metavar="SLUG", help="this account alone; all that have settings otherwise")
        parser.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds (default: 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = _accounts(options["account"])
        try:
            left = drain.drain(list(slugs), options["timeout"])
        except redis.RedisError as error:
            message = f"Redis cannot be used ({type(error).__name__}): start it, or check REDIS_URL. Nothing is lost."
            raise CommandError(message) from error
        scrubbing.work_off()
        for account_id, rest in left.items():
            self.stdout.write("\n".join(_lines(slugs[account_id], rest)))
        if any(rest.moving or rest.stuck for rest in left.values()):
            raise CommandError("Not drained.")


def _accounts(slug: str | None) -> dict[int, str]:
    accounts = Account.objects.filter(slug=slug) if slug else Account.objects.filter(braze__isnull=False)
    slugs = dict(accounts.order_by("slug").values_list("pk", "slug"))
    if slug and not slugs:
        raise CommandError(f"There is no account “{slug}”.")
    return slugs


def _lines(slug: str, rest: Rest) -> list[str]:
    lines = []
    if rest.moving:
        lines.append(f"{slug}: time is up with {_changes(rest.moving)} still on their way, the account is {rest.state}")
    if rest.stuck:
        lines.append(f"{slug}: {_changes(rest.stuck)} cannot be sent, the account is {rest.state}")
    if rest.waiting:
        lines.append(f"{slug}: {_changes(rest.waiting)} waiting by rule, among them")
        lines += [f"  {why}" for why in rest.why_waiting]
    return lines or [f"{slug}: drained"]


def _changes(number: int) -> str:
    return f"{number:,} change{'' if number == 1 else 's'}"

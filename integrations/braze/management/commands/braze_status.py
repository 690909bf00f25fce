"""`manage.py braze_status [--json]`: how each account's sync stands."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from integrations.braze.delivery import connection
from integrations.braze.reporting import status
from integrations.braze.reporting.status import COUNTED, AccountStatus

#: A request that waits for longer than this is told of.
LONG_SECONDS = 30


class Command(BaseCommand):
    help = "Shows, for each account with Braze settings, its state and where its captured changes are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs: one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = status.of_accounts()
        if options["json"]:
            self.stdout.write(json.dumps({"accounts": [account.as_json() for account in accounts]}))
        elif accounts:
            self.stdout.write("\n".join([*_table(accounts), *_details(accounts)]))
        else:
            self.stdout.write("No account has Braze settings yet.")


def _table(accounts: list[AccountStatus]) -> list[str]:
    """Words to the left, numbers to the right, each column as wide as its widest cell."""
    headings = ["account", "state", *COUNTED, "oldest pending", "oldest request"]
    rows = [headings, *(_row(account) for account in accounts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cell(index, cell, widths[index]) for index, cell in enumerate(row)).rstrip() for row in rows]


def _row(account: AccountStatus) -> list[str]:
    counts = [f"{account.counts[status]:,}" for status in COUNTED]
    oldest = f"{account.oldest_pending_seconds:,.1f} s" if account.counts["pending"] else "-"
    request = f"{account.oldest_buffered_seconds:,.1f} s" if account.oldest_buffered_seconds else "-"
    return [account.account, account.readiness.state, *counts, oldest, request]


def _cell(index: int, cell: str, width: int) -> str:
    return cell.ljust(width) if index < 2 else cell.rjust(width)


def _details(accounts: list[AccountStatus]) -> list[str]:
    lines = [f"{a.account} is {a.readiness.state}: {a.readiness.detail}" for a in accounts if a.readiness.detail]
    late = [account for account in accounts if _is_late(account)]
    trouble = connection.trouble() if late else ""
    lines += [_late_in_words(account, trouble) for account in late]
    return ["", *lines] if lines else []


def _is_late(account: AccountStatus) -> bool:
    return account.readiness.is_ready and account.oldest_buffered_seconds > LONG_SECONDS


def _late_in_words(account: AccountStatus, trouble: str) -> str:
    waits = f"{account.account}: the oldest request has waited for {account.oldest_buffered_seconds:,.0f} s."
    if trouble:
        return f"{waits} Redis cannot be used ({trouble})."
    return f"{waits} Are the workers running, or is the rate limit used up?"

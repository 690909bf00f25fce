"""`manage.py import_loyalty FILE --account SLUG`: see docs/import.md."""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from masivo_braze.arguments import typed
from masivo_braze.loyalty.importing.apply import Counts, add_counts, apply_records, reason_of
from masivo_braze.loyalty.importing.parse import Format, guess_format, parser_for
from masivo_braze.loyalty.importing.records import BadLineError, ImportRecord
from masivo_braze.loyalty.models import Account
from masivo_braze.loyalty.querysets import chunked

#: Records in a transaction.
BATCH_RECORDS = 2_000


class Command(BaseCommand):
    help = "Imports customers, events, orders and audiences from NDJSON, or orders from the CDNOW format."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--account", type=typed, required=True, metavar="SLUG")
        parser.add_argument(
            "--create-account", metavar="NAME", help="make the account under this name if there is none"
        )
        parser.add_argument("--format", choices=["ndjson", "cdnow"], help="default: told by the first line")

    def handle(self, *args: Any, **options: Any) -> None:
        self.bad_lines = 0
        account = _account(options["account"], options["create_account"])
        try:
            with options["file"].open("rb") as file:
                counts = self._import(account, file, options["format"])
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from error
        self.stdout.write(_summary(counts))
        if self.bad_lines:
            left_out = "1 bad line was" if self.bad_lines == 1 else f"{self.bad_lines} bad lines were"
            raise CommandError(f"{left_out} left out; the others are imported.")

    def _import(self, account: Account, file: IO[bytes], name: Format | None) -> Counts:
        size = Path(str(file.name)).stat().st_size
        with tqdm(total=size, unit="B", unit_scale=True, disable=None, file=sys.stderr, desc="import") as bar:
            records = self._records(file, name, bar)
            counted: set[str] = set()
            batches = chunked(records, BATCH_RECORDS)
            return add_counts(apply_records(account, batch, self._report, counted) for batch in batches)

    def _records(self, file: IO[bytes], name: Format | None, bar: "tqdm[Any]") -> Iterator[ImportRecord]:
        lines = self._lines(file, bar)
        first = next(lines, None)
        if first is None:
            return
        parse = parser_for(name or guess_format(first[1]))
        for number, line in chain([first], lines):
            try:
                yield parse(number, line)
            except BadLineError as error:
                self._report(number, str(error))

    def _lines(self, file: IO[bytes], bar: "tqdm[Any]") -> Iterator[tuple[int, str]]:
        """The numbered lines with anything in them."""
        for number, raw in enumerate(file, start=1):
            bar.update(len(raw))
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                self._report(number, "not UTF-8")
                continue
            if line:
                yield number, line

    def _report(self, number: int, reason: str) -> None:
        self.bad_lines += 1
        with tqdm.external_write_mode(file=sys.stderr):
            self.stderr.write(f"line {number}: {reason}")


def _account(slug: str, name: str | None) -> Account:
    account = Account.objects.filter(slug=slug).first()
    if account is not None:
        return account
    if name is None:
        raise CommandError(f"There is no account {slug}. Make it in the admin, or with --create-account NAME.")
    return _create(slug, name.strip())


def _create(slug: str, name: str) -> Account:
    """A slug that is none would leave the console with pages that have no address, for all who see the account."""
    try:
        Account(slug=slug, name=name).full_clean(validate_unique=False)
    except ValidationError as error:
        raise CommandError(f"No account can be made as “{slug}”: {reason_of(error)}") from error
    return Account.objects.get_or_create(slug=slug, defaults={"name": name})[0]


def _summary(counts: Counts) -> str:
    if not counts:
        return "Nothing imported."
    return "\n".join(
        f"{kind}: {', '.join(f'{count} {what}' for what, count in counter.items())}" for kind, counter in counts.items()
    )

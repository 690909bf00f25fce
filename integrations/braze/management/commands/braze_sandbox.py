"""`manage.py braze_sandbox`: a stand-in for Braze to develop and test against."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations.braze.sandbox.cli import DESCRIPTION, EPILOG, add_arguments, options_from, run


class Command(BaseCommand):
    help = DESCRIPTION
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EPILOG
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(options_from(options), self._write)
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

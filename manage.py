#!/usr/bin/env python
"""Django's command line for this project; uses the local settings unless told otherwise."""

import os
import sys

#: On a server, a laptop's settings would say of the same database what does not hold of its workers.
HINT = (
    "manage.py: these are the local settings, while all is set that production demands, as on a server. "
    "Its processes use DJANGO_SETTINGS_MODULE=settings.production."
)


def main() -> None:
    from django.core.management import execute_from_command_line

    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        from settings.environment import is_of_production

        os.environ["DJANGO_SETTINGS_MODULE"] = "settings.local"
        if is_of_production() and not any(argument.startswith("--settings") for argument in sys.argv):
            sys.stderr.write(f"{HINT}\n")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

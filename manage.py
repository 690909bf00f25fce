#!/usr/bin/env python
"""Django's command line for this project; uses the local settings unless told otherwise."""

import os
import sys

#: On a server, commands under a laptop's settings would report what does not hold for the server's processes.
HINT = (
    "manage.py: using the local settings, although everything that production requires is set, as on a server. "
    "The server's processes use DJANGO_SETTINGS_MODULE=settings.production."
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

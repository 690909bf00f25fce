#!/usr/bin/env python
"""Django's command line for this project; uses the local settings unless told otherwise."""

import codecs
import io
import json
import os
import sys

#: On a server, commands under a laptop's settings would report what does not hold for the server's processes.
HINT = (
    "manage.py: using the local settings, although everything that production requires is set, as on a server. "
    "The server's processes use DJANGO_SETTINGS_MODULE=settings.production."
)


def main() -> None:
    from django.core.management import execute_from_command_line

    print_whatever_the_encoding()
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        from settings.environment import is_of_production

        os.environ["DJANGO_SETTINGS_MODULE"] = "settings.local"
        if is_of_production() and not any(argument.startswith("--settings") for argument in sys.argv):
            sys.stderr.write(f"{HINT}\n")
    execute_from_command_line(sys.argv)


def print_whatever_the_encoding() -> None:
    """What the console's encoding lacks is written as in JSON, so that no command ends at a name with an accent."""
    codecs.register_error("as_in_json", _as_in_json)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="as_in_json")


def _as_in_json(error: UnicodeError) -> tuple[str, int]:
    """Commands print JSON, too, in which Python's own notation (`\\xe9`) would be an error."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


if __name__ == "__main__":
    main()

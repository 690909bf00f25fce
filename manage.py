#!/usr/bin/env python
"""Django's command line for this project: production's settings where its environment is set, else a laptop's."""

import os
import sys


def main() -> None:
    from django.core.management import execute_from_command_line

    from settings.environment import settings_module

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module())

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

"""`python -m integrations.braze.sandbox`: the sandbox without Django, which starts faster."""

import argparse
import sys

from integrations.braze.sandbox.cli import DESCRIPTION, EPILOG, add_arguments, options_from, run


def main() -> None:
    parser = argparse.ArgumentParser("python -m integrations.braze.sandbox", description=DESCRIPTION, epilog=EPILOG)
    add_arguments(parser)
    try:
        run(options_from(vars(parser.parse_args())), _write)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

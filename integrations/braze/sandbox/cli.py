"""The command line, shared by `manage.py braze_sandbox` and `python -m integrations.braze.sandbox`."""

import argparse
import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from integrations.braze.sandbox.faults import parse_fault
from integrations.braze.sandbox.keys import CONTRACTS, ApiKey
from integrations.braze.sandbox.limits import Limit
from integrations.braze.sandbox.options import Options
from integrations.braze.sandbox.rules import ATTRIBUTE_TYPES
from integrations.braze.sandbox.server import serve

DESCRIPTION = (
    "A stand-in for Braze's user-data API (/users/track, /users/delete, /users/export/ids) to develop and test "
    "against. Open its address in a browser to watch it. docs/sandbox.md lists every rule it keeps."
)
EPILOG = (
    'A fault is a JSON object, such as \'{"status": 503, "times": 5}\' or \'{"latency": [0.1, 2], "rate": 0.2, '
    '"seed": 7}\'. Settings: endpoint, key, contains, after, times, rate, seed; status, apply, message, html, '
    "retry_after, latency, close, hang, truncate, drip, reorder. POST the same to /control/faults at run time."
)

Number = TypeVar("Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8010, help="0 picks a free one (default: 8010)")
    _add_key_arguments(parser)
    _add_limit_arguments(parser)
    _add_state_arguments(parser)
    _add_rule_arguments(parser)
    _add_fault_arguments(parser)


def options_from(values: dict[str, Any]) -> Options:
    """Options from parsed arguments. Raises ValueError naming a wrong one."""
    options = Options(**{name: values[name] for name in _SAME_NAME})
    options.keep_profiles = not values["no_profiles"]
    options.track_limit = Limit(values["track_limit"], 3.0)
    options.delete_limit = Limit(values["delete_limit"], 60.0)
    options.export_limit = Limit(values["export_limit"], 60.0)
    options.attribute_types = dict(_attribute_type(text) for text in values["attribute_type"])
    options.faults = [*values["fault"], *_shortcut_faults(values)]
    for text in options.keys:
        ApiKey.parse(text, options.contract)
    for fault in options.faults:
        parse_fault(fault)
    return options


def run(options: Options, write: Callable[[str], None]) -> None:
    asyncio.run(serve(options, lambda url: write(f"sandbox listening on {url}")))


_SAME_NAME = (
    *(
        "host",
        "port",
        "keys",
        "refused_keys",
        "contract",
        "hourly_limit",
        "rate_headers",
        "error_style",
        "journal",
        "delete_delay",
    ),
    *("read_lag", "state_file", "blocked_attributes", "blocked_events", "blocked_products", "blacklisted_users"),
)


def _add_key_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("keys")
    group.add_argument(
        "--key",
        dest="keys",
        action="append",
        default=[],
        metavar="KEY[:WORD,…]",
        help="accept only the keys named so; words: users.track, users.delete, users.export.ids (none: all), "
        "legacy or combined. Without this option any key but `invalid` is accepted",
    )
    group.add_argument("--refuse-key", dest="refused_keys", action="append", default=[], metavar="KEY")
    group.add_argument(
        "--contract",
        choices=CONTRACTS,
        default="legacy",
        help="75 objects per array (legacy, the default) or 75 in all (combined), for keys that do not say",
    )


def _add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("answers and limits (per API key; 0: none)")
    group.add_argument("--track-limit", type=_count, default=3_000, help="calls per 3 seconds (default: 3000)")
    group.add_argument("--delete-limit", type=_count, default=20_000, help="calls per minute (default: 20000)")
    group.add_argument("--export-limit", type=_count, default=250, help="calls per minute: 250 (default) or 2500")
    group.add_argument("--hourly-limit", type=_count, default=0, help="track calls per clock hour (default: none)")
    group.add_argument(
        "--rate-headers",
        choices=("epoch", "seconds"),
        default="epoch",
        help="X-RateLimit-Reset as an epoch, or in seconds and X-Ratelimit-Retry-After alone on 429",
    )
    group.add_argument(
        "--error-style",
        choices=("sentences", "codes"),
        default="sentences",
        help="of errors[].type: sentences as in live answers, or the documented upper-case codes",
    )


def _add_state_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("state")
    group.add_argument("--state", dest="state_file", type=Path, metavar="FILE", help="keep the profiles in this file")
    group.add_argument("--no-profiles", action="store_true", help="check and count only: fast, little memory")
    group.add_argument("--journal", action="store_true", help="keep the sequence of applied objects (/control/log)")
    group.add_argument("--delete-delay", type=_seconds, default=0.0, metavar="S", help="a delete takes effect S later")
    group.add_argument("--read-lag", type=_seconds, default=0.0, metavar="S", help="exports show profiles as S ago")


def _add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("workspace settings")
    for kind in ("attribute", "event", "product"):
        group.add_argument(f"--block-{kind}", dest=f"blocked_{kind}s", action="append", default=[], metavar="NAME")
    group.add_argument("--blacklist-user", dest="blacklisted_users", action="append", default=[], metavar="EXTERNAL_ID")
    group.add_argument(
        "--attribute-type",
        action="append",
        default=[],
        metavar="NAME=TYPE",
        help=f"force a custom attribute's type: {', '.join(ATTRIBUTE_TYPES)}",
    )


def _add_fault_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults")
    group.add_argument("--fault", type=_fault, action="append", default=[], metavar="JSON")
    group.add_argument("--latency", type=_seconds, default=0.0, metavar="S", help="every answer comes S later")
    group.add_argument("--poison", default="", metavar="TEXT", help="400 for any body that contains TEXT")
    group.add_argument("--failure-rate", type=float, default=0.0, metavar="P", help="answer 500 with probability P")
    group.add_argument("--seed", type=int, default=0, help="of the random failures (default: 0)")


def _shortcut_faults(values: dict[str, Any]) -> list[dict[str, Any]]:
    faults: list[dict[str, Any]] = []
    if values["latency"]:
        faults.append({"latency": values["latency"]})
    if values["poison"]:
        faults.append({"status": 400, "contains": values["poison"]})
    if values["failure_rate"]:
        faults.append({"status": 500, "rate": values["failure_rate"], "seed": values["seed"]})
    return faults


def _attribute_type(text: str) -> tuple[str, str]:
    name, _, kind = text.partition("=")
    if not name or kind not in ATTRIBUTE_TYPES:
        raise ValueError(f"{text!r}: expected NAME=TYPE, TYPE one of {', '.join(ATTRIBUTE_TYPES)}")
    return name, kind


def _fault(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(f"{text} is not a JSON object")
    return document


def _port(text: str) -> int:
    return _number(int, text, 65_536, "expected a port from 0 to 65535")


def _count(text: str) -> int:
    return _number(int, text, math.inf, "expected a number from 0 up")


def _seconds(text: str) -> float:
    return _number(float, text, 1e6, "expected seconds from 0 up")


def _number(parse: Callable[[str], Number], text: str, below: float, words: str) -> Number:
    with suppress(ValueError):
        if 0 <= (number := parse(text)) < below:
            return number
    raise argparse.ArgumentTypeError(words)

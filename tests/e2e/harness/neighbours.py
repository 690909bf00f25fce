"""`python -m tests.e2e.harness.neighbours --endpoint URL …`: a healthy account's saves, alone and beside others.

The others are five that are sound, five that are broken, and then a sixth with a backlog, which is limited by Braze and
then by the machine alone, and a seventh with another; and, as that is work for every core, a machine that is busy with
something else. Prints JSON: by phase, the moment of each customer's commit, in seconds since 1970.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import django
from cryptography.fernet import Fernet

from dev.backlog import add_events

HEALTHY = "healthy"
#: Their API keys, by which the sandbox knows how to treat them.
BROKEN = ("hanging", "dripping", "failing", "refused", "undecryptable")
#: As many with nothing wrong: what the others are before they break.
SOUND = tuple(f"sound-{number}" for number in range(len(BROKEN)))
BACKLOGS = ("backlog", "backlog-too")
#: Of an account with a backlog; their events are what else it has.
CUSTOMERS, CHUNK = 20_000, 1_000
SAVES, EVERY_SECONDS = 120, 0.1
#: Calls in 3 seconds, where Braze is the bottleneck of a backlog, and where this machine is.
CALLS_WHERE_LIMITED, CALLS = 15, 3_000


def set_up(endpoint: str, of_backlog: str) -> None:
    from dev.sample import TOGGLES

    for slug in (HEALTHY, *SOUND, *BROKEN, *BACKLOGS):
        account = Account.objects.create(name=slug, slug=slug)
        key = Undecryptable(Fernet(Fernet.generate_key()).encrypt(b"x").decode()) if slug == "undecryptable" else slug
        url = of_backlog if slug in BACKLOGS else endpoint
        BrazeSettings.objects.create(
            account=account, is_enabled=True, api_key=key, rest_endpoint=url, **dict.fromkeys(TOGGLES, True)
        )


def measure(phase: str, others: Sequence[str] = ()) -> dict[str, float]:
    """Save one customer after the other, at an even pace; those of other accounts in between."""
    healthy, committed = Account.objects.get(slug=HEALTHY), {}
    begun = time.monotonic()
    for number in range(SAVES):
        time.sleep(max(0.0, begun + number * EVERY_SECONDS - time.monotonic()))
        name = f"{phase}-{number}"
        Customer.objects.create(account=healthy, external_id=name, first_name="Ada")
        committed[name] = time.time()
        if number % 5 == 0:
            save(others, name)
    return committed


@contextmanager
def busy_cores() -> Iterator[None]:
    """A process for each core that does nothing but keep it busy."""
    burn = "import os\nwhile os.getppid() == {0}: pass"
    command = [sys.executable, "-c", burn.format(os.getpid())]
    burning = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def save(slugs: Sequence[str], name: str) -> None:
    for account in Account.objects.filter(slug__in=slugs):
        Customer.objects.create(account=account, external_id=f"{account.slug}-{name}", first_name="Bob")


def pile_up(slug: str, backlog: int) -> None:
    account, customers = Account.objects.get(slug=slug), min(backlog, CUSTOMERS)
    for first in range(0, customers, CHUNK):
        names = [f"{slug}-{number}" for number in range(first, first + CHUNK)]
        Customer.objects.bulk_create([Customer(account=account, external_id=name, first_name="Cy") for name in names])
    if backlog > customers:
        add_events(account.pk, backlog - customers)


def limit_backlog(calls: int) -> None:
    settings = BrazeSettings.objects.get(account__slug=BACKLOGS[0])
    settings.calls_per_window = calls
    settings.save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--backlog-endpoint", required=True)
    parser.add_argument("--backlog", type=int, required=True, help="changes of one account, captured at once")
    options = parser.parse_args()
    django.setup()

    from integrations.braze.models import BrazeSettings
    from integrations.braze.models.fields import Undecryptable
    from masivo_braze.loyalty.models import Account, Customer

    set_up(options.endpoint, options.backlog_endpoint)
    measure("warm-up")
    phases = {"alone": measure("alone"), "sound": measure("sound", SOUND)}
    with busy_cores():
        phases["busy"] = measure("busy")
    for round_number in range(5):
        save(BROKEN, f"before-{round_number}")
    phases["broken"] = measure("broken", BROKEN)
    limit_backlog(CALLS_WHERE_LIMITED)
    pile_up(BACKLOGS[0], options.backlog)
    phases["limited"] = measure("limited", BROKEN)
    limit_backlog(CALLS)
    phases["beside"] = measure("beside", BROKEN)
    pile_up(BACKLOGS[1], options.backlog)
    phases["beside two"] = measure("beside two", BROKEN)
    print(json.dumps(phases))

"""The demo's story: set up, sync, wait until all is settled, compare."""

import time

from django.core.management import call_command

from dev import sample
from dev.demo import expected, ledger
from dev.demo.held import Held
from dev.demo.totals import compare
from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from integrations.braze.models import BrazeSettings
from integrations.braze.models.account import UnknownPolicy
from masivo_braze.loyalty.models import Account

SETTLE_SECONDS = 150
#: What is killed: all but beat.
SENDERS = ("worker", "flush", "backlog", "probation")
#: Requests seen by the sandbox before the workers are killed: the sync is then in full swing.
KILL_AFTER_REQUESTS = 15
#: How long Braze takes for an answer then, so that the kill meets requests in flight; and for how long one is waited
#: for, as what was in flight is only then known to be of unknown outcome.
SLOW_ANSWER_SECONDS, ANSWER_WITHIN_SECONDS = 0.3, 10.0


def run(stack: Stack, kill_worker: bool) -> bool:
    """Whether Braze holds exactly what the raw file says."""
    call_command("migrate", verbosity=0)
    account = sample.create_account("cdnow", "CDNOW", stack.sandbox.url)
    started = time.monotonic()
    if kill_worker:
        _load_then_kill(stack, account)
    else:
        stack.start(*WORKERS)
        _load(account)
    wait_until(lambda: ledger.on_the_way(account) == 0, "every change to be settled", SETTLE_SECONDS, every=0.2)
    seconds = time.monotonic() - started
    print(f"\nWhat became of the changes\n\n{ledger.captured(account)}\n")
    print(f"{ledger.requests(account)}, {seconds:.1f} s from the first change to the last answer.")
    return _compare(stack, account)


def _load(account: Account) -> None:
    started = time.monotonic()
    print("Importing the CDNOW sample", flush=True)
    sample.load(account)
    print(f"Imported in {time.monotonic() - started:.1f} s, with tags, events and audiences; syncing", flush=True)


def _load_then_kill(stack: Stack, account: Account) -> None:
    """Workers that die between start and answer leave requests of unknown outcome: those are held, not sent again."""
    BrazeSettings.objects.filter(account=account).update(unknown_events=UnknownPolicy.HOLD)
    stack.sandbox.set_faults({"latency": SLOW_ANSWER_SECONDS})
    stack.env["BRAZE_READ_TIMEOUT_SECONDS"] = str(ANSWER_WITHIN_SECONDS)
    _load(account)
    stack.start(*WORKERS)
    wait_until(lambda: _requests(stack) >= KILL_AFTER_REQUESTS, "the sync to get going", every=0.01)
    stack.kill(*SENDERS)
    waiting = ledger.on_the_way(account)
    print(f"Killed the workers (SIGKILL) after {_requests(stack)} requests; {waiting:,} changes still on their way")
    stack.sandbox.set_faults()
    stack.start(*SENDERS)


def _requests(stack: Stack) -> int:
    return sum(stack.sandbox.summary()["requests"].values())


def _compare(stack: Stack, account: Account) -> bool:
    raw, spent = expected.from_raw_file(sample.CDNOW_FILE)
    held = Held(stack.sandbox, spent)
    lost, dollars_lost = ledger.lost(account, held)
    text, equal = compare(raw, lost, held.totals())
    print(f"\nWhat Braze holds, next to the raw file\n\n{text}\n")
    wrong = [name for name in spent if spent[name] - dollars_lost.get(name, 0) != held.revenue[name]]
    print(f"Customers whose revenue differs: {len(wrong)}. Objects applied twice: {held.sent_twice}.")
    return equal and not wrong and held.sent_twice == 0

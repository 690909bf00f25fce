"""An account whose Braze is slow, dripping, broken or refusing delays nobody else, nor do two with backlogs."""

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.ports import answers, free_port
from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.harness.journal import Braze
from tests.e2e.harness.neighbours import BACKLOGS

pytestmark = pytest.mark.measured

FAULTS = (
    {"key": "hanging", "hang": "before"},
    {"key": "dripping", "drip": 30},
    {"key": "failing", "status": 500},
)
#: SQLite lets one process write at a time, whoever's account it is: there a large backlog is felt by all. On PostgreSQL
#: it lasts as long as what is measured beside it.
BACKLOG, BACKLOG_ON_SQLITE = 1_000_000, 2_000


class JournalledStack(Stack):
    """Backlogs have a stand-in of their own: Braze does not take one account's requests more slowly for another's."""

    def start_sandbox(self) -> None:
        command = [sys.executable, "-m", "integrations.braze.sandbox", "--port"]
        self._spawn("sandbox", [*command, str(self.sandbox_port), "--journal", "--refuse-key", "refused"])
        wait_until(lambda: answers(self.sandbox_port), "the sandbox")
        self.sandbox.set_faults(*FAULTS)
        port = free_port()
        self._spawn("sandbox of backlogs", [*command, str(port)])
        wait_until(lambda: answers(port), "the backlogs' sandbox")
        self.of_backlog = f"http://127.0.0.1:{port}"
        self.env["BRAZE_EXTRA_ENDPOINTS"] += f",{self.of_backlog}"


@pytest.fixture
def journalled_stack(tmp_path: Path, database_url: str | None) -> Iterator[JournalledStack]:
    with JournalledStack(tmp_path, database_url) as stack:
        stack.manage("migrate", "--verbosity", "0")
        yield stack
        stack.stop_all()
        print(stack.logs(lines=40))  # shown where the test has failed


def test_it_delivers_as_soon_as_ever_whatever_happens_to_other_accounts(
    journalled_stack: JournalledStack, database_url: str | None
) -> None:
    stack = journalled_stack
    stack.start(*WORKERS)
    many = BACKLOG if database_url else BACKLOG_ON_SQLITE
    arguments = ["--endpoint", stack.sandbox.url, "--backlog", str(many), "--backlog-endpoint", stack.of_backlog]
    output = stack.run(sys.executable, "-m", "tests.e2e.harness.neighbours", *arguments)
    committed: dict[str, dict[str, float]] = json.loads(output)
    everyone = {name for phase in committed.values() for name in phase}
    wait_until(lambda: everyone <= arrivals(stack).keys(), "all of the healthy account", timeout=30, every=0.5)
    arrived = arrivals(stack)
    figures = {
        phase: percentiles([arrived[name] - then for name, then in times.items()]) for phase, times in committed.items()
    }
    status = {line["account"]: line for line in json.loads(stack.manage("braze_status", "--json"))["accounts"]}
    states = {account: line["state"] for account, line in status.items()}
    print(f"commit to delivery in seconds (median, p95): {figures}; {states}; {[status[slug] for slug in BACKLOGS]}")
    for phase in ("broken", "limited", "beside", "beside two"):
        for delay, sound in zip(figures[phase], figures["sound"], strict=True):
            assert delay <= 1.5 * sound + 0.05, phase
    for backlog in BACKLOGS:
        assert status[backlog]["pending"] or not database_url  # it has lasted
    assert (states["refused"], states["undecryptable"]) == ("paused", "incomplete")


def arrivals(stack: Stack) -> dict[str, float]:
    """When Braze first took something of a customer, in seconds since 1970."""
    first: dict[str, float] = {}
    for entry in Braze(stack.sandbox.url).journal:
        first.setdefault(entry["customer"], entry["at"])
    return first


def percentiles(delays: list[float]) -> tuple[float, float]:
    return statistics.median(delays), statistics.quantiles(delays, n=20)[-1]

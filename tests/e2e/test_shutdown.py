"""A deployment stops a worker by SIGTERM and kills it ten seconds later."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.harness import database
from tests.e2e.shop import Shop

pytestmark = pytest.mark.e2e

GRACE_SECONDS = 10


@pytest.mark.parametrize("latency", [3, 25])
def test_a_worker_ends_in_time_whether_or_not_braze_answers_in_time(stack: Stack, shop: Shop, latency: int) -> None:
    stack.start(*WORKERS)
    shop.save_customers(1, "c")
    wait_until(lambda: stack.sandbox.profile("c-0"), "the first customer")
    stack.sandbox.set_faults({"latency": latency})
    shop.save_customers(1, "d")
    wait_until(lambda: _in_flight(stack) == 1, "the request in flight")
    worker = stack.processes["flush"]
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail("it would have been killed")
    assert (_in_flight(stack) == 0) == (latency < GRACE_SECONDS)


def test_a_relay_that_is_stopped_gives_its_lease_back(stack: Stack, shop: Shop) -> None:
    """Else nobody could relay the account's changes until the lease has run out."""
    shop.save_customers(300, "c")
    stack.start("worker", "beat")
    wait_until(lambda: _is_frozen_at_work(stack), "a relay at work", every=0.01)
    worker = stack.processes["worker"]
    worker.send_signal(signal.SIGTERM)
    _signal_children(stack, signal.SIGCONT)
    try:
        worker.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail("it would have been killed")
    assert _leases(stack) == 0
    assert shop.status()["buffered"] == 300


def _is_frozen_at_work(stack: Stack) -> bool:
    """Stops the processes of the relays where one of them holds a lease."""
    if not _leases(stack):
        return False
    _signal_children(stack, signal.SIGSTOP)
    if _leases(stack):
        return True
    _signal_children(stack, signal.SIGCONT)
    return False


def _signal_children(stack: Stack, number: signal.Signals) -> None:
    pid = stack.processes["worker"].pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), number)


def _leases(stack: Stack) -> int:
    ((count,),) = database.rows(stack.env["DATABASE_URL"], "SELECT count(*) FROM outbox_lease WHERE token IS NOT NULL")
    return int(count)


def _in_flight(stack: Stack) -> int:
    """Asked of the database itself: a command takes as long to start as a request may be on its way."""
    in_flight = "SELECT count(*) FROM braze_delivery WHERE started_at IS NOT NULL AND finished_at IS NULL"
    ((count,),) = database.rows(stack.env["DATABASE_URL"], in_flight)
    return int(count)

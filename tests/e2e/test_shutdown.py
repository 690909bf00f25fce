"""A deployment stops a worker by SIGTERM and kills it ten seconds later."""

import signal
import subprocess

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


def _in_flight(stack: Stack) -> int:
    """Asked of the database itself: a command takes as long to start as a request may be on its way."""
    in_flight = "SELECT count(*) FROM braze_delivery WHERE started_at IS NOT NULL AND finished_at IS NULL"
    ((count,),) = database.rows(stack.env["DATABASE_URL"], in_flight)
    return int(count)

"""A deployment stops a worker by SIGTERM and kills it ten seconds later."""

import signal
import subprocess

import pytest

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
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
    wait_until(lambda: "buffered=1" in _in_flight(stack), "the request in flight")
    worker = stack.processes["flush"]
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail("it would have been killed")
    assert ("buffered=0" in _in_flight(stack)) == (latency < GRACE_SECONDS)


def _in_flight(stack: Stack) -> str:
    code = "from integrations.braze.models import Delivery as D; print('buffered=%d' %"
    code += " D.objects.filter(started_at__isnull=False, finished_at=None).count())"
    return stack.manage("shell", "-v", "0", "-c", code)

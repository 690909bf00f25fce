"""A database that is restored from a backup, under everything that runs: nothing goes out twice unnoticed."""

from datetime import UTC, datetime

import pytest

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.harness import database
from tests.e2e.shop import Shop

pytestmark = [pytest.mark.e2e, pytest.mark.postgres]

SENDERS = ("flush", "backlog", "probation")


def test_what_was_sent_since_the_backup_is_held_until_a_person_says_when_that_was(
    stack: Stack, shop: Shop, database_url: str
) -> None:
    stack.start(*WORKERS)
    shop.save_customers(1, "c")
    shop.save_event("c-0")
    wait_until(lambda: shop.status()["delivered"] == 2, "what came before the backup")
    stack.stop(*SENDERS)
    shop.save_event("c-0")
    wait_until(lambda: shop.status()["buffered"] == 1, "an event that is ready to be sent")
    database.back_up(database_url)
    backed_up_at = datetime.now(UTC)

    stack.start(*SENDERS)
    wait_until(lambda: stack.sandbox.summary()["events"] == 2, "the event that was ready")
    shop.save_customers(1, "lost")
    shop.save_event("lost-0")
    wait_until(lambda: stack.sandbox.summary()["events"] == 3, "what the backup knows nothing of")
    database.restore(database_url)

    wait_until(lambda: shop.status()["state"] == "paused", "the loss to be noticed", timeout=60)
    sent = stack.sandbox.summary()["requests"]
    shop.save_customers(1, "later")
    with pytest.raises(RuntimeError, match="restored from a backup"):
        stack.manage("braze_drain", "--timeout", "3")
    assert stack.sandbox.summary()["requests"] == sent
    assert shop.status()["state"] == "paused"

    words = stack.manage("braze_restored", "--since", backed_up_at.isoformat())
    assert "1 events and orders" in words
    wait_until(lambda: stack.sandbox.profile("later-0"), "what was saved while it was paused")
    wait_until(lambda: shop.status()["buffered"] == 0, "all to be settled")
    status = shop.status()
    assert (status["state"], status["unknown"], status["pending"]) == ("healthy", 1, 0)
    summary = stack.sandbox.summary()
    assert (summary["events"], summary["duplicates"]["event_id"]) == (3, 0)

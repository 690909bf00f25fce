"""A pass of several rounds: one is committed while the next is composed, and the one after that is read elsewhere."""

from collections import Counter
from collections.abc import Callable
from threading import current_thread
from typing import Any

import pytest
from django.db import connection

from integrations.braze import buffer, ledger, relay, rounds, taking
from integrations.braze.committing import Overtaken
from integrations.braze.models import BrazeSettings, Delivery
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

PEOPLE = 24


@pytest.fixture
def backlog(account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six rounds."""
    monkeypatch.setattr(taking, "TAKE", PEOPLE // 6)
    for number in range(PEOPLE):
        Customer.objects.create(account=account, external_id=f"c-{number}", first_name="Ada")


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The thread that each round was read by."""
    seen: list[str] = []
    read = rounds.read

    def noted(*arguments: Any) -> Any:
        found = read(*arguments)
        if found:
            seen.append(current_thread().name)
        return found

    monkeypatch.setattr(rounds, "read", noted)
    return seen


def carried() -> Counter[str]:
    lines = [line for request in Delivery.objects.all() for line in request.manifest["attributes"]]
    return Counter(line["customer"] for line in lines)


def everybody_once() -> Counter[str]:
    return Counter({f"c-{number}": 1 for number in range(PEOPLE)})


def connections_of_others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def test_all_rounds_but_the_first_are_read_beside_and_nobody_twice(
    account: Account, backlog: None, readers: list[str]
) -> None:
    assert relay.relay(account.pk) == 6
    assert readers[0] == current_thread().name
    assert {name.rpartition("_")[0] for name in readers[1:]} == {"braze-read"}
    assert carried() == everybody_once()
    assert set(OutboxEntry.objects.values_list("status", flat=True)) == {"buffered"}


def test_its_connection_is_closed_in_the_end(account: Account, backlog: None) -> None:
    before = connections_of_others()
    relay.relay(account.pk)
    assert connections_of_others() == before


def test_a_round_that_was_overtaken_is_read_again_with_all_that_was_read_after_it(
    account: Account, backlog: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, calls = relay.commit, Counter[str]()

    def overtaken_at_the_second(*arguments: Any) -> Any:
        calls["commit"] += 1
        if calls["commit"] == 2:
            raise Overtaken
        return commit(*arguments)

    monkeypatch.setattr(relay, "commit", overtaken_at_the_second)
    assert relay.relay(account.pk) == 6
    assert carried() == everybody_once()


def test_what_was_committed_is_ready_although_the_next_rounds_cannot_be_read(
    account: Account, backlog: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "read", failing_after(rounds.read, 2))
    with pytest.raises(ConnectionError, match="lost"):
        relay.relay(account.pk)
    ready = ledger.next_to_send(account.pk)
    assert len(ready) == 1
    assert buffer.missing(account.pk, ready) == []


def failing_after(read: Callable[..., Any], times: int) -> Callable[..., Any]:
    left = [None] * times

    def reading(*arguments: Any) -> Any:
        if not left:
            raise ConnectionError("lost")
        left.pop()
        return read(*arguments)

    return reading

"""The buffer on a real Redis: whatever it repeats, loses or forgets, nothing is ready twice, and all can be again."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import pytest
import redis

from integrations.braze.delivery import buffer, connection
from integrations.braze.delivery.buffer import Claim
from integrations.braze.models import Delivery

ACCOUNT, OTHER = 1, 2

pytestmark = pytest.mark.usefixtures("redis_client")


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(account_id=ACCOUNT, body=b"body \x00\xff %d" % number) for number in range(count)]


def ids(found: list[Delivery]) -> list[uuid.UUID]:
    return [delivery.pk for delivery in found]


def claim_all(account_id: int = ACCOUNT, most: int = buffer.IN_FLIGHT) -> list[Claim]:
    claims = []
    while claim := buffer.claim(account_id, most):
        claims.append(claim)
    return claims


def wait_for(condition: Callable[[], bool]) -> None:
    end = monotonic() + 5
    while not condition():
        assert monotonic() < end, "it did not come about"
        sleep(0.005)


def test_it_hands_out_what_was_pushed_oldest_first_with_its_body() -> None:
    pushed = deliveries(3)
    assert buffer.push(ACCOUNT, pushed) == 3
    assert claim_all() == [Claim(delivery.pk, delivery.body) for delivery in pushed]


def test_it_has_nothing_to_claim_where_nothing_was_pushed() -> None:
    assert buffer.claim(ACCOUNT) is None
    assert buffer.push(ACCOUNT, []) == 0


@pytest.mark.parametrize("again", [False, True])
def test_it_forgets_what_nobody_claims(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """As where an account was switched off: what it had ready is never sent, and holds personal data."""
    monkeypatch.setattr(buffer, "KEPT_MS", 50)
    pushed = deliveries(2)
    buffer.push(ACCOUNT, pushed)
    if again:
        buffer.unclaim(ACCOUNT, claim_all())
    wait_for(lambda: not redis_client.keys("braze:*:ready") and not redis_client.keys("braze:*:bodies"))
    assert buffer.push(ACCOUNT, pushed) == 2, "what is still to be sent is missing, and ready again"


def test_it_takes_what_is_ready_already_just_once() -> None:
    pushed = deliveries(2)
    buffer.push(ACCOUNT, pushed)
    assert buffer.push(ACCOUNT, [*pushed, *deliveries(1)]) == 1
    assert buffer.push(ACCOUNT, [pushed[0], pushed[0]]) == 0
    assert len(claim_all()) == 3


def test_it_tells_what_somebody_may_be_sending() -> None:
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    buffer.claim_some(ACCOUNT, 2)
    assert buffer.claimed(ACCOUNT, ids(pushed)) == set(ids(pushed[:2]))
    buffer.release(ACCOUNT, pushed[0].pk)
    assert buffer.claimed(ACCOUNT, ids(pushed)) == {pushed[1].pk}


def test_what_was_claimed_and_could_not_be_started_is_ahead_of_the_others_again() -> None:
    pushed = deliveries(4)
    buffer.push(ACCOUNT, pushed)
    buffer.unclaim(ACCOUNT, buffer.claim_some(ACCOUNT, 2))
    assert [claim.id for claim in claim_all()] == ids(pushed)


def test_what_is_ready_again_keeps_its_own_body_and_one_that_was_lost_stays_lost(redis_client: "redis.Redis") -> None:
    """An empty one would do no harm, the ledger has it; another request's would be sent in its place."""
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    redis_client.hdel(f"braze:{{{ACCOUNT}}}:bodies", str(pushed[1].pk))
    buffer.unclaim(ACCOUNT, claim_all())
    bodies = [pushed[0].body, b"", pushed[2].body]
    assert claim_all() == [Claim(delivery.pk, body) for delivery, body in zip(pushed, bodies, strict=True)]


def test_it_hands_out_nothing_while_more_are_in_flight_than_may_be() -> None:
    """As where an account comes on probation with several on their way."""
    buffer.push(ACCOUNT, deliveries(4))
    assert len(buffer.claim_some(ACCOUNT, 3)) == 3
    assert buffer.claim(ACCOUNT, most=1) is None


def test_it_does_not_make_ready_again_what_is_in_flight() -> None:
    pushed = deliveries(1)
    buffer.push(ACCOUNT, pushed)
    assert buffer.claim(ACCOUNT)
    assert buffer.push(ACCOUNT, pushed) == 0
    assert buffer.claim(ACCOUNT) is None


def test_it_makes_ready_again_what_was_released_unsent() -> None:
    pushed = deliveries(1)
    buffer.push(ACCOUNT, pushed)
    assert buffer.claim(ACCOUNT)
    buffer.release(ACCOUNT, pushed[0].pk)
    assert buffer.push(ACCOUNT, pushed) == 1
    assert claim_all() == [Claim(pushed[0].pk, pushed[0].body)]


def test_it_limits_what_an_account_has_in_flight() -> None:
    pushed = deliveries(buffer.IN_FLIGHT + 2)
    buffer.push(ACCOUNT, pushed)
    assert [claim.id for claim in claim_all()] == ids(pushed)[: buffer.IN_FLIGHT]
    buffer.release(ACCOUNT, pushed[1].pk)
    assert [claim.id for claim in claim_all()] == [pushed[buffer.IN_FLIGHT].pk]


def test_it_limits_it_to_less_where_asked_to() -> None:
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    assert [claim.id for claim in claim_all(most=1)] == [pushed[0].pk]
    assert [claim.id for claim in claim_all(most=2)] == [pushed[1].pk]


def test_it_gives_each_request_to_one_of_many_threads() -> None:
    pushed = deliveries(200)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: buffer.push(ACCOUNT, pushed), range(8))) == 200
        claims = [claim for claim in pool.map(lambda _: buffer.claim(ACCOUNT, 1000), range(220)) if claim]
    assert sorted(claim.id for claim in claims) == sorted(ids(pushed))


def test_it_frees_the_place_of_a_worker_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "CLAIM_MS", 250)
    pushed = deliveries(2)
    buffer.push(ACCOUNT, pushed)
    assert buffer.claim(ACCOUNT, 1) and buffer.claim(ACCOUNT, 1) is None
    wait_for(lambda: buffer.claim(ACCOUNT, 1) is not None)


def test_it_misses_what_a_dead_worker_held_as_soon_as_its_claim_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "CLAIM_MS", 50)
    pushed = deliveries(1)
    buffer.push(ACCOUNT, pushed)
    buffer.claim(ACCOUNT)
    wait_for(lambda: buffer.missing(ACCOUNT, ids(pushed)) == ids(pushed))
    assert buffer.push(ACCOUNT, pushed) == 1
    assert claim_all() == [Claim(pushed[0].pk, pushed[0].body)]


def test_it_keeps_a_claim_for_as_long_as_a_request_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "CLAIM_MS", 50)
    kept, left = deliveries(2)
    buffer.push(ACCOUNT, [kept, left])
    claim_all()
    buffer.keep(ACCOUNT, kept.pk)
    wait_for(lambda: buffer.missing(ACCOUNT, [left.pk]) == [left.pk])
    assert buffer.missing(ACCOUNT, [kept.pk]) == []
    assert buffer.push(ACCOUNT, [kept]) == 0


def test_it_frees_the_place_of_a_dead_worker_when_the_clock_has_gone_back(redis_client: "redis.Redis") -> None:
    """Else its claims would last an hour longer, and with all of them the account would stand still."""
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    assert buffer.claim(ACCOUNT, 2) and buffer.claim(ACCOUNT, 2)
    flight = f"braze:{{{ACCOUNT}}}:flight"
    redis_client.zincrby(flight, 3_600_000, str(pushed[0].pk))  # as it looks an hour earlier
    redis_client.zincrby(flight, 3_600_000, str(pushed[1].pk))
    assert buffer.claim(ACCOUNT, 2) == Claim(pushed[2].pk, pushed[2].body)
    assert buffer.missing(ACCOUNT, ids(pushed)) == ids(pushed[:2])


def test_it_tells_what_is_neither_ready_nor_in_flight() -> None:
    ready, claimed, released, unknown = deliveries(4)
    buffer.push(ACCOUNT, [claimed, released, ready])
    assert [buffer.claim(ACCOUNT) is not None for _ in range(2)] == [True, True]
    buffer.release(ACCOUNT, released.pk)
    assert buffer.missing(ACCOUNT, ids([ready, claimed, released, unknown])) == ids([released, unknown])
    assert buffer.missing(ACCOUNT, []) == []


def test_it_hands_out_an_empty_body_where_redis_has_lost_it(redis_client: "redis.Redis") -> None:
    pushed = deliveries(1)
    buffer.push(ACCOUNT, pushed)
    redis_client.delete(f"braze:{{{ACCOUNT}}}:bodies")
    assert buffer.push(ACCOUNT, pushed) == 0
    assert claim_all() == [Claim(pushed[0].pk, b"")]


def test_it_misses_what_is_no_longer_listed_though_its_body_is_there(redis_client: "redis.Redis") -> None:
    pushed = deliveries(2)
    buffer.push(ACCOUNT, pushed)
    redis_client.delete(f"braze:{{{ACCOUNT}}}:ready")
    assert buffer.missing(ACCOUNT, ids(pushed)) == ids(pushed)
    assert buffer.push(ACCOUNT, pushed) == 2
    assert [claim.id for claim in claim_all()] == ids(pushed)


def test_it_starts_anew_after_redis_lost_everything(redis_client: "redis.Redis") -> None:
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    assert buffer.claim(ACCOUNT)
    redis_client.flushall()
    assert buffer.missing(ACCOUNT, ids(pushed)) == ids(pushed)
    assert buffer.push(ACCOUNT, pushed) == 3
    assert len(claim_all()) == 3


def test_it_survives_that_redis_forgets_its_scripts() -> None:
    pushed = deliveries(2)
    for step in (
        lambda: buffer.push(ACCOUNT, pushed) == 2,
        lambda: buffer.missing(ACCOUNT, ids(pushed)) == [],
        lambda: buffer.claim(ACCOUNT) is not None,
        lambda: buffer.keep(ACCOUNT, pushed[0].pk) is None,
    ):
        connection.client().script_flush()
        assert step()


def test_it_keeps_accounts_apart() -> None:
    mine, theirs = deliveries(2)
    buffer.push(ACCOUNT, [mine])
    assert buffer.claim(OTHER) is None
    assert buffer.missing(OTHER, [mine.pk]) == [mine.pk]
    buffer.push(OTHER, [theirs])
    assert [claim_all(each, most=1)[0].id for each in (ACCOUNT, OTHER)] == [mine.pk, theirs.pk]
    buffer.release(OTHER, mine.pk)
    assert buffer.missing(ACCOUNT, [mine.pk]) == []


def test_it_leaves_nothing_in_redis_once_all_is_sent() -> None:
    pushed = deliveries(3)
    buffer.push(ACCOUNT, pushed)
    for claim in claim_all():
        buffer.release(ACCOUNT, claim.id)
    assert connection.client().dbsize() == 0

"""An account's state in words, and what the ledger says of its pace."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.braze.account import steering
from integrations.braze.console import health, rates
from integrations.braze.console.health import Standing
from integrations.braze.console.rates import Period
from integrations.braze.models import BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account

pytestmark = pytest.mark.made_up

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def forgetful() -> None:
    cache.clear()


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def entries(account: Account, number: int, at: datetime, **fields: Any) -> None:
    values = {"integration": "braze", "kind": "event", "customer_external_id": "c1", "created_at": at, **fields}
    OutboxEntry.objects.bulk_create(OutboxEntry(account=account, **values) for _ in range(number))


def request(account: Account, finished: datetime, **fields: Any) -> Delivery:
    values = {"endpoint": "track", "outcome": "accepted", "created_at": finished - timedelta(seconds=2)}
    values |= {"started_at": finished - timedelta(seconds=1), "finished_at": finished, **fields}
    return Delivery.objects.create(account=account, **values)


def composed(account: Account, at: datetime, **fields: Any) -> Delivery:
    """A request that has not ended, and its change."""
    delivery = Delivery.objects.create(account=account, endpoint="track", created_at=at, **fields)
    entries(account, 1, at, status="buffered", batch=delivery.pk)
    return delivery


def standing(account: Account, at: datetime = NOW) -> Standing:
    (one,) = health.overview([account], at)
    assert one == health.of(account, at).standing
    return one


def test_an_account_with_nothing_to_do_is_healthy(account: Account, braze: BrazeSettings) -> None:
    assert (standing(account).words, standing(account).tone) == ("healthy", "good")


def test_what_was_captured_a_moment_ago_is_no_backlog(account: Account, braze: BrazeSettings) -> None:
    entries(account, 10, ago(seconds=1))
    assert standing(account).words == "healthy"


def test_what_waits_by_rule_is_no_backlog(account: Account, braze: BrazeSettings) -> None:
    entries(account, 2, ago(minutes=3), due_at=NOW + timedelta(minutes=2))
    entries(account, 1, ago(minutes=3), parked=True, due_at=NOW + timedelta(minutes=1))
    assert standing(account).words == "healthy"
    assert health.of(account, NOW).by_rule == 3


def test_a_backlog_that_moves_is_caught_up_with_in_a_told_time(account: Account, braze: BrazeSettings) -> None:
    entries(account, 1_200, ago(minutes=2))
    for second in range(10):
        request(account, ago(seconds=second), attributes=30, events=20)
    assert standing(account).words == "catching up: 1,200 waiting, about 24 s"  # 500 objects in 10 s


def test_a_backlog_that_does_not_move_is_told(account: Account, braze: BrazeSettings) -> None:
    entries(account, 7, ago(minutes=2))
    request(account, ago(minutes=1), events=5)
    assert standing(account).words.startswith("standing still: 7 waiting, the oldest since 2026-11-24 11:58:00.")
    assert standing(account).tone == "bad"


def test_requests_that_nobody_sends_are_told(account: Account, braze: BrazeSettings) -> None:
    composed(account, ago(seconds=1))
    assert standing(account).words == "healthy"
    for seconds in (20, 10):
        composed(account, ago(seconds=seconds))
    assert standing(account).words == "catching up: 3 on the way"
    composed(account, ago(minutes=2))
    entries(account, 6, ago(minutes=1))
    assert standing(account).tone == "bad"
    assert standing(account).words == (
        "standing still: 6 waiting, 4 on the way, the oldest since 2026-11-24 11:58:00. Are the workers running?"
    )


def test_who_stands_still_because_redis_is_down_is_told_so(
    account: Account, braze: BrazeSettings, no_redis: None
) -> None:
    entries(account, 6, ago(minutes=1))
    assert standing(account).words == (
        "standing still: 6 waiting, the oldest since 2026-11-24 11:59:00. Redis cannot be used (ConnectionError)."
    )


def test_a_redis_that_is_full_is_told(account: Account, braze: BrazeSettings, redis_client: Any) -> None:
    entries(account, 6, ago(minutes=1))
    redis_client.config_set("maxmemory", 1)
    try:
        assert standing(account).words.endswith("Redis cannot be used (OutOfMemoryError).")
    finally:
        redis_client.config_set("maxmemory", 0)
    assert standing(account).words.endswith("Are the workers running?")


def test_a_redis_that_refuses_writes_is_told_in_its_own_words(
    account: Account, braze: BrazeSettings, redis_client: Any
) -> None:
    """Its error has no name of its own, and that of all errors told nobody what to mend."""
    entries(account, 6, ago(minutes=1))
    redis_client.config_set("min-replicas-to-write", 1)
    try:
        words = standing(account).words
    finally:
        redis_client.config_set("min-replicas-to-write", 0)
    assert words.endswith("Redis cannot be used (NOREPLICAS Not enough good replicas to write).")


def test_an_answer_that_is_overdue_is_told(account: Account, braze: BrazeSettings) -> None:
    sent = composed(account, ago(minutes=2), started_at=ago(minutes=1), deadline=NOW + timedelta(seconds=1))
    assert standing(account).words == "healthy"
    Delivery.objects.filter(pk=sent.pk).update(deadline=ago(seconds=10))
    assert standing(account).words.startswith("standing still: 1 on the way, the oldest since 2026-11-24 11:58:00.")


def test_an_hourly_limit_that_is_used_up_is_told_also_of_who_shares_the_key(
    account: Account, braze: BrazeSettings
) -> None:
    at = NOW + timedelta(minutes=10)
    BrazeSettings.objects.update(calls_per_hour=3)
    other = Account.objects.create(name="Another", slug="another")
    BrazeSettings.objects.create(
        account=other, is_enabled=True, api_key=braze.api_key, rest_endpoint=braze.rest_endpoint
    )
    request(account, NOW - timedelta(seconds=1))  # of the hour before
    for who, seconds in ((account, 2), (other, 3)):
        request(who, NOW + timedelta(seconds=seconds))
    composed(account, at - timedelta(minutes=8))
    composed(other, at - timedelta(minutes=8))
    assert standing(account, at).words.startswith("standing still")
    request(other, at)
    for who in (account, other):
        assert standing(who, at).words == "the hourly limit is used up until 13:00 (UTC): 1 on the way"
        assert standing(who, at).tone == "busy"
    assert standing(account, NOW + timedelta(hours=1)).words.startswith("standing still")


def test_a_limit_of_few_requests_is_no_standstill(account: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(calls_per_window=1, window_seconds=120)
    request(account, ago(seconds=100))
    composed(account, ago(minutes=5))
    assert standing(account).words == "catching up: 1 on the way"


def test_an_account_that_failed_and_has_nothing_to_send_is_healthy(account: Account, braze: BrazeSettings) -> None:
    BrazeState.objects.update(failures=2, last_error="Braze answered 503")
    assert (standing(account).words, standing(account).tone) == ("healthy", "good")
    sent = composed(account, ago(seconds=2), started_at=ago(seconds=1), deadline=NOW + timedelta(minutes=1))
    assert standing(account).words.startswith("trying again")
    Delivery.objects.filter(pk=sent.pk).delete()
    entries(account, 1, ago(seconds=1))
    assert standing(account).words.startswith("trying again")


def test_an_account_that_failed_and_is_not_tried_again_stands_still(account: Account, braze: BrazeSettings) -> None:
    """Its probes have a worker of their own, which may be the one that is dead."""
    BrazeState.objects.update(failures=2, last_error="Braze answered 503", backoff_until=ago(seconds=20))
    late = composed(account, ago(minutes=2))
    assert standing(account).words.startswith("trying again")
    BrazeState.objects.update(backoff_until=ago(seconds=40))
    assert standing(account).words.startswith("standing still: 1 on the way")
    Delivery.objects.filter(pk=late.pk).update(started_at=ago(seconds=39), deadline=NOW + timedelta(seconds=1))
    composed(account, ago(minutes=2))
    assert standing(account).words.startswith("trying again")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"paused_at": ago(hours=1), "pause_kind": PauseKind.REFUSED, "pause_reason": "Invalid API key"},
            "paused: Braze refused on 2026-11-24 11:00:00: Invalid API key",
        ),
        (
            {"paused_at": ago(hours=1), "pause_kind": PauseKind.RESTORED, "pause_reason": "Lost."},
            "paused on 2026-11-24 11:00:00: this database was restored from a backup",
        ),
        (
            {"held_at": ago(hours=1), "held_by": "anna", "held_reason": "a campaign"},
            "paused by anna: a campaign, on 2026-11-24 11:00:00",
        ),
        (
            {"backoff_until": NOW + timedelta(seconds=9), "last_error": "Braze answered 503"},
            "backing off until 12:00:09: Braze answered 503",
        ),
        (
            {"failures": 2, "last_error": "Braze answered 503"},
            "trying again, one request at a time: the last one failed: Braze answered 503",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(
    account: Account, braze: BrazeSettings, state: dict[str, Any], words: str
) -> None:
    BrazeState.objects.update(**state)
    entries(account, 1, ago(seconds=1))
    assert standing(account).words == words


def test_settings_that_do_not_send_are_told(account: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(api_key="")
    assert standing(account).words == "cannot send: No API key yet. Changes are captured and wait."
    BrazeSettings.objects.update(is_enabled=False)
    assert standing(account).words == "switched off: nothing is captured or sent"
    BrazeSettings.objects.all().delete()
    assert standing(account).words == "not set up yet"


def test_who_needs_somebody_comes_first(account: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Another", slug="another")
    steering.pause(account.pk, "anna")
    third = Account.objects.create(name="Third", slug="third")
    for one in (other, third):
        BrazeSettings.objects.create(account=one, is_enabled=True, api_key="key", rest_endpoint=braze.rest_endpoint)
    entries(third, 1, ago(days=1), status="rejected")
    everybody = [other, third, account]
    assert [one.account for one in health.overview(everybody, NOW)] == [account, third, other]
    assert [one.account for one in health.overview(everybody, NOW, slice(1, 2))] == [third]


def test_many_accounts_are_told_of_by_as_many_queries_as_one(
    account: Account, braze: BrazeSettings, django_assert_num_queries: Callable[..., Any]
) -> None:
    """Also where all of them wait, as when the workers are down: some share a key, and have an hourly limit."""
    accounts = [Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}") for number in range(30)]
    for number, one in enumerate(accounts):
        key = f"key-{number % 20}"
        BrazeSettings.objects.create(account=one, is_enabled=True, api_key=key, rest_endpoint=braze.rest_endpoint)
    BrazeSettings.objects.update(calls_per_hour=1_000)
    for one in (account, *accounts):
        entries(one, 2, ago(hours=1))
    with CaptureQueriesContext(connection) as of_one:
        health.overview([account], NOW)
    with django_assert_num_queries(len(of_one)):
        found = health.overview([account, *accounts], NOW)
    assert {one.waiting for one in found} == {2} and len(found) == 31


def test_it_counts_by_account_and_status(account: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="Another", slug="another")
    entries(other, 5, ago(seconds=1), status="rejected")
    for status, number in (("pending", 4), ("buffered", 3), ("rejected", 2), ("unknown", 1)):
        entries(account, number, ago(seconds=1), status=status)
    one = standing(account)
    assert (one.waiting, one.on_the_way, one.rejected, one.unknown, one.failed) == (4, 3, 2, 1, 3)


def test_the_days_counts_leave_out_what_is_older(account: Account, braze: BrazeSettings) -> None:
    entries(account, 5, ago(hours=25), status="delivered")
    entries(account, 3, ago(hours=23), status="delivered")
    entries(account, 2, ago(hours=1), status="skipped")
    today = health.of(account, NOW).today
    assert (today["delivered"], today["skipped"], today["rejected"]) == (3, 2, 0)


def test_of_a_day_with_very_many_changes_the_newest_count(
    account: Account, braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries(account, 5, ago(hours=23), status="delivered")
    entries(account, 4, ago(hours=1), status="skipped")
    assert not health.of(account, NOW).today_is_cut
    cache.clear()
    monkeypatch.setattr(health, "DAYS_NEWEST", 5)
    cut = health.of(account, NOW)
    assert cut.today_is_cut
    assert (cut.today["delivered"], cut.today["skipped"]) == (2, 4)


def test_the_delay_is_from_commit_to_answer(account: Account, braze: BrazeSettings) -> None:
    for seconds in (1, 1, 1, 9):
        entries(account, 1, ago(seconds=seconds + 1), status="delivered", settled_at=ago(seconds=1))
    ids = list(OutboxEntry.objects.values_list("pk", flat=True))
    entries(account, 1, ago(hours=1), status="delivered", settled_at=ago(seconds=1))
    request(account, ago(seconds=1), manifest={"events": [{"customer": "c1", "entries": ids, "creates": True}]})
    delay = health.of(account, NOW).delay
    assert delay is not None
    assert (delay.half, delay.of) == (1.0, 4)
    assert delay.most > 5


def test_accounts_that_share_a_key_share_the_limit(account: Account, braze: BrazeSettings, sandbox: Any) -> None:
    other, stranger = (Account.objects.create(name=name, slug=name) for name in ("other", "stranger"))
    BrazeSettings.objects.create(account=other, api_key=braze.api_key, rest_endpoint=sandbox.url)
    BrazeSettings.objects.create(account=stranger, api_key="another", rest_endpoint=sandbox.url)
    BrazeSettings.objects.filter(account=account).update(calls_per_window=10, window_seconds=30)
    for who, number in ((account, 2), (other, 3), (stranger, 4)):
        for _ in range(number):
            request(who, ago(seconds=10))
    request(account, ago(minutes=2))
    budget = health.of(account, NOW).budget
    assert budget is not None
    assert (budget.mine, budget.others, budget.allowed, budget.percent) == (2, 3, 20, 25.0)


def test_the_tightest_limit_of_who_share_a_key_is_what_is_allowed(account: Account, braze: BrazeSettings) -> None:
    other = Account.objects.create(name="other", slug="other")
    BrazeSettings.objects.create(
        account=other, api_key=braze.api_key, rest_endpoint=braze.rest_endpoint, calls_per_window=10, window_seconds=30
    )
    budget = health.of(account, NOW).budget
    assert budget is not None
    assert (budget.allowed, budget.allowed_an_hour) == (20, None)


def test_the_hourly_limit_is_part_of_the_budget(account: Account, braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(calls_per_hour=8)
    for minutes in (1, 2):
        request(account, NOW + timedelta(minutes=minutes))
    request(account, ago(seconds=2))
    budget = health.of(account, NOW + timedelta(minutes=20)).budget
    assert budget is not None
    assert (budget.mine, budget.this_hour, budget.allowed_an_hour, budget.percent) == (0, 2, 8, 25.0)


@pytest.mark.parametrize(("period", "points"), [(Period.HOUR, 60), (Period.DAY, 96), (Period.WEEK, 56)])
def test_the_chart_has_objects_by_minute_and_failures(account: Account, period: Period, points: int) -> None:
    other = Account.objects.create(name="Another", slug="another")
    request(account, ago(seconds=1), attributes=period.step * 4, events=period.step)
    request(account, ago(seconds=1), outcome="partial", purchases=period.step)
    request(account, ago(seconds=1), outcome="retry", events=99)
    request(account, ago(seconds=1), outcome="dissolved", events=99)
    request(account, ago(minutes=period.minutes + period.step), events=99)
    request(other, ago(seconds=1), events=99)
    chart = rates.chart([account.pk], period, NOW - timedelta(microseconds=1))
    assert len(chart.times) == points
    assert {kind: values[-1] for kind, values in chart.objects.items()} == {
        "attributes": 4.0, "events": 1.0, "purchases": 1.0, "deletions": 0.0,
    }  # fmt: skip
    assert sum(map(sum, chart.objects.values())) == 6.0
    assert {words: sum(counts) for words, counts in chart.failures.items() if any(counts)} == {
        "accepted in part": 1, "failed, sent again": 1,
    }  # fmt: skip


def test_what_waited_for_long_is_counted_when_it_is_answered(account: Account, braze: BrazeSettings) -> None:
    """After an outage, or under a small hourly limit, a request is hours old when it leaves."""
    entries(account, 60, ago(minutes=2))
    request(account, ago(seconds=5), created_at=ago(hours=9), events=6)
    assert standing(account).words == "catching up: 60 waiting, about 60 s"  # 6 objects in 6 s
    assert sum(map(sum, rates.chart([account.pk], Period.HOUR, NOW).objects.values())) == 6
    health_now = health.of(account, NOW)
    assert health_now.budget is not None and health_now.budget.mine == 1


def test_a_request_on_its_way_counts_against_the_limit(account: Account, braze: BrazeSettings) -> None:
    request(account, ago(seconds=5), finished_at=None, outcome="", deadline=NOW)
    budget = health.of(account, NOW).budget
    assert budget is not None and budget.mine == 1


def test_the_last_answer_is_told_however_long_ago_it_was(account: Account, braze: BrazeSettings) -> None:
    request(account, ago(days=4))
    request(account, ago(days=3), created_at=ago(days=5))
    request(account, ago(days=2), outcome="retry")
    assert standing(account).last == ago(days=3)


def test_a_chart_of_nothing_is_empty(account: Account) -> None:
    assert rates.chart([account.pk], Period.HOUR, NOW).is_empty

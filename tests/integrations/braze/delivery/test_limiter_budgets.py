"""Whose limit it is: accounts with the same key at the same host are one caller to Braze."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from integrations.braze.composing import relay
from integrations.braze.delivery import connection, flush, limiter
from integrations.braze.delivery.limiter import Limit
from integrations.braze.models import BrazeSettings, Delivery, Endpoint
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.delivery.limits import (
    away_from_the_turn_of_the_hour,
    next_free_us,
    reserve,
    server_us,
    slot_key,
)

pytestmark = pytest.mark.usefixtures("redis_client", "db")


def account(**fields: object) -> BrazeSettings:
    known = {"api_key": "key-1", "rest_endpoint": "https://rest.iad-01.braze.com", "calls_per_hour": 7}
    return BrazeSettings(**known | fields)


def test_it_shares_a_budget_among_accounts_of_one_key_and_host() -> None:
    one, other = (limiter.limit_of(account(), Endpoint.TRACK) for _ in range(2))
    limiter.defer(one, 5)
    assert not reserve(other).is_granted


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({"api_key": "key-2"}, Endpoint.TRACK),
        ({"rest_endpoint": "https://rest.iad-02.braze.com"}, Endpoint.TRACK),
        ({}, Endpoint.DELETE),
        ({"api_key": "key-1\0https://x", "rest_endpoint": ""}, Endpoint.TRACK),
    ],
)
def test_it_keeps_other_budgets_apart(fields: dict[str, object], endpoint: Endpoint) -> None:
    limiter.defer(limiter.limit_of(account(), Endpoint.TRACK), 5)
    assert reserve(limiter.limit_of(account(**fields), endpoint)).is_granted


def test_it_takes_its_limits_from_the_settings_and_from_braze_for_deletions() -> None:
    of = limiter.limit_of(account(calls_per_window=50, window_seconds=2), Endpoint.TRACK)
    assert (of.calls, of.window_seconds, of.per_hour) == (50, 2, 7)
    of = limiter.limit_of(account(calls_per_window=50, window_seconds=2), Endpoint.DELETE)
    assert (of.calls, of.window_seconds, of.per_hour) == (20_000, 60, None)


def test_it_never_names_a_key_by_the_api_key() -> None:
    of = limiter.limit_of(account(api_key="secret-key"), Endpoint.TRACK)
    reserve(of)
    assert not [key for key in connection.client().scan_iter() if b"secret" in key]


# --- who shares a key -----------------------------------------------------------------------------------


def shop(slug: str, **fields: object) -> BrazeSettings:
    known = {"api_key": "key-1", "rest_endpoint": "https://rest.iad-01.braze.com"}
    return BrazeSettings.objects.create(account=Account.objects.create(name=slug, slug=slug), **known | fields)


def test_the_tightest_hourly_cap_of_those_who_share_a_key_holds_for_all() -> None:
    """Braze counts the calls of a key: an account without a cap of its own used up the other's, and went on."""
    away_from_the_turn_of_the_hour()
    capped, roomy, uncapped = shop("a", calls_per_hour=3), shop("b", calls_per_hour=9), shop("c")
    stranger = shop("d", api_key="key-2")
    granted = [reserve(limiter.limit_of(uncapped, Endpoint.TRACK)).is_granted for _ in range(5)]
    assert granted == [True, True, True, False, False]
    assert not any(reserve(limiter.limit_of(each, Endpoint.TRACK)).is_granted for each in (capped, roomy))
    assert limiter.limit_of(stranger, Endpoint.TRACK).per_hour is None
    assert limiter.limit_of(uncapped, Endpoint.DELETE).per_hour is None


def test_the_slowest_window_of_those_who_share_a_key_holds_for_all() -> None:
    slow, fast = shop("a", calls_per_window=1, window_seconds=10), shop("b")
    connection.client().set(slot_key(limiter.limit_of(fast, Endpoint.TRACK)), server_us())
    assert reserve(limiter.limit_of(fast, Endpoint.TRACK)).is_granted
    for each in (slow, fast):
        assert reserve(limiter.limit_of(each, Endpoint.TRACK)).wait_seconds > 9


@given(st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 60)), min_size=2, max_size=4), st.floats(0, 1))
def test_slots_that_redis_forgets_fit_into_every_window_of_those_who_share(
    windows: list[tuple[int, int]], lost_at: float
) -> None:
    of = Limit("shared", *windows[0], also=frozenset(windows[1:]))
    for calls, seconds in windows:
        window_us = seconds * 1_000_000
        lost_us = int(lost_at * window_us)
        before = min(lost_us + int(of.ahead_seconds * 1_000_000), window_us - 1) // of.spacing_us + 1
        begins_again = lost_us + (0 if of.ahead_seconds else of.spacing_us)
        after = (window_us - 1 - begins_again) // of.spacing_us + 1 if begins_again < window_us else 0
        assert before + after <= calls


def test_a_limit_changed_at_one_account_holds_for_the_others_at_once() -> None:
    one, other = shop("a"), shop("b")
    assert limiter.limit_of(other, Endpoint.TRACK).per_hour is None
    one.calls_per_hour = 5
    one.save()
    assert limiter.limit_of(other, Endpoint.TRACK).per_hour == 5
    BrazeSettings.objects.filter(pk=one.pk).update(calls_per_hour=4)
    assert limiter.limit_of(other, Endpoint.TRACK).per_hour == 4
    one.delete()
    assert limiter.limit_of(other, Endpoint.TRACK).per_hour is None


def test_a_limit_that_is_raised_is_not_waited_for_as_long_as_the_one_before() -> None:
    """A typing error in a limit stopped the account for an hour after it was corrected."""
    begun, asked = server_us(), {"calls_per_window": 1, "window_seconds": 3600}
    one = shop("a", **asked)
    of = limiter.limit_of(one, Endpoint.TRACK)
    connection.client().set(slot_key(of), server_us())
    assert reserve(of).is_granted
    for name in asked:
        setattr(one, name, 3)
    of = limiter.limit_of(one, Endpoint.TRACK)
    assert reserve(of).wait_seconds <= of.spacing_us / 1_000_000
    limiter.defer(of, 60)
    one.calls_per_window = 3000
    assert reserve(limiter.limit_of(one, Endpoint.TRACK)).wait_seconds > 55, "what Braze asked for stays"
    assert next_free_us(of) > begun + 60_000_000


def test_a_limit_that_is_lowered_counts_from_the_last_request_on() -> None:
    one = shop("a")
    of = limiter.limit_of(one, Endpoint.TRACK)
    connection.client().set(slot_key(of), server_us())
    assert reserve(of).is_granted
    one.calls_per_window, one.window_seconds = 1, 10
    assert reserve(limiter.limit_of(one, Endpoint.TRACK)).wait_seconds > 9


def save(row: BrazeSettings) -> None:
    row.save()


def save_fields(row: BrazeSettings) -> None:
    row.save(update_fields=["api_key", "rest_endpoint"])


def update(row: BrazeSettings) -> None:
    BrazeSettings.objects.filter(pk=row.pk).update(api_key=row.api_key, rest_endpoint=row.rest_endpoint)


def bulk_update(row: BrazeSettings) -> None:
    BrazeSettings.objects.bulk_update([row], ["api_key", "rest_endpoint"])


def create_in_bulk(row: BrazeSettings) -> None:
    row.delete()
    row.pk = None
    BrazeSettings.objects.bulk_create([row])


def load(row: BrazeSettings) -> None:
    """As `loaddata` does."""
    for each in serializers.deserialize("json", serializers.serialize("json", [row])):
        each.save()


@pytest.mark.parametrize("store", [save, save_fields, update, bulk_update, create_in_bulk, load])
def test_it_is_known_who_shares_a_key_however_it_was_saved(store: Callable[[BrazeSettings], None]) -> None:
    one, other = shop("a"), shop("b", api_key="key-2", rest_endpoint="https://rest.iad-02.braze.com")
    assert one.sharing_key() == []
    other.api_key, other.rest_endpoint = one.api_key, one.rest_endpoint
    store(other)
    assert [each.account_id for each in one.sharing_key()] == [other.account_id]
    other = BrazeSettings.objects.get(account=other.account)
    other.api_key = "key-3"
    store(other)
    assert one.sharing_key() == []


def test_accounts_without_a_key_share_nothing() -> None:
    one, _ = shop("a", api_key=""), shop("b", api_key="")
    assert one.sharing_key() == []


def test_a_key_that_cannot_be_decrypted_is_still_known_to_be_shared(settings: Settings) -> None:
    one, other = shop("a"), shop("b", calls_per_hour=5)
    keys, settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS, [Fernet.generate_key().decode()]
    BrazeSettings.objects.get(pk=other.pk).save()
    settings.FIELD_ENCRYPTION_KEYS = keys
    assert limiter.limit_of(one, Endpoint.TRACK).per_hour == 5


def test_a_forgotten_hour_is_counted_from_the_ledger_of_all_who_share_the_key(
    account: Account,
    braze: BrazeSettings,
    change: Customer,
    sandbox: SandboxServer,
    sync: Callable[[], None],
    redis_client: Any,
) -> None:
    sharer = Account.objects.create(name="Sister", slug="sister")
    BrazeSettings.objects.create(
        account=sharer, is_enabled=True, api_key=braze.api_key, rest_endpoint=sandbox.url, create_customers=True
    )
    BrazeSettings.objects.filter(pk=braze.pk).update(calls_per_hour=1)
    sync()
    redis_client.flushall()
    Customer.objects.create(account=sharer, external_id="s1")
    relay.relay(sharer.pk)
    flush.flush(sharer.pk)
    assert sandbox.summary()["requests"]["track"] == 1


def test_an_hour_is_counted_from_requests_that_left_in_it_to_the_same_endpoint_with_the_same_key() -> None:
    """Whatever else is counted holds an account up for the rest of the hour, for others' requests at that."""
    away_from_the_turn_of_the_hour()
    one, sharing, stranger = shop("a"), shop("b"), shop("c", api_key="key-2")
    now = database_now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    for settings, endpoint, started_at in [
        (one, Endpoint.TRACK, hour),
        (sharing, Endpoint.TRACK, now),
        (stranger, Endpoint.TRACK, now),
        (one, Endpoint.DELETE, now),
        (one, Endpoint.TRACK, hour - timedelta(microseconds=1)),
        (one, Endpoint.TRACK, None),
    ]:
        Delivery.objects.create(account_id=settings.account_id, endpoint=endpoint, started_at=started_at)
    assert limiter.calls_this_hour(one, Endpoint.TRACK) == 2


def test_requests_that_were_taken_back_use_up_nothing_of_the_limit(
    account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Callable[[], None]
) -> None:
    """Redis still lists them: after each save of the settings, an account stood still for as many slots."""
    away_from_the_turn_of_the_hour()
    Customer.objects.bulk_create(Customer(account=account, external_id=f"c{number}") for number in range(75 * 3))
    relay.relay(account.pk)
    BrazeSettings.objects.filter(pk=braze.pk).update(calls_per_hour=3)
    sync()
    assert sandbox.summary()["requests"]["track"] == 3


def test_a_wait_that_braze_asks_of_one_holds_up_all_who_share_the_key(
    account: Account, braze: BrazeSettings, change: Customer, sandbox: SandboxServer, sync: Callable[[], None]
) -> None:
    sharer = Account.objects.create(name="Sister", slug="sister")
    BrazeSettings.objects.create(
        account=sharer, is_enabled=True, api_key=braze.api_key, rest_endpoint=sandbox.url, create_customers=True
    )
    Customer.objects.create(account=sharer, external_id="s1")
    relay.relay(sharer.pk)
    sandbox.faults.add(status=429, times=1, retry_after=30)
    sync()
    assert flush.flush(sharer.pk) == 0
    assert sandbox.summary()["requests"]["track"] == 1
    slot = limiter.reserve(limiter.limit_of(braze, Endpoint.TRACK), lambda: 0)
    assert slot.wait_seconds > 20

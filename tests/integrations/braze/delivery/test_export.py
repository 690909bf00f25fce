"""What Braze is asked about a customer, within its own budget and bounded time, and what is said when it cannot be."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
import redis

from integrations.braze.delivery import export, limiter
from integrations.braze.delivery.export import NotAnswered
from integrations.braze.models import BrazeSettings
from integrations.braze.sandbox import SandboxServer
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine
from tests.integrations.braze.delivery.socket_server import Conversation, serving

Sync = Callable[[], None]


def words_of(braze: BrazeSettings, external_id: str = "c1") -> str:
    with pytest.raises(NotAnswered) as raised:
        export.ask(braze, external_id)
    assert not braze.api_key or braze.api_key not in str(raised.value)
    return str(raised.value)


def test_it_tells_what_braze_holds_of_a_customer(account: Account, braze: BrazeSettings, sync: Sync) -> None:
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada", tags={"vip": True})
    for _ in range(2):
        Event.objects.create(account=account, customer=one, type="VISIT")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=3, value="29.33")
    sync()
    held = export.ask(braze, "c1")
    assert held.is_known
    assert [(event.name, event.count) for event in held.events] == [("VISIT", 2)]
    assert {product.name: product.count for product in held.purchases} == {"CD": 3}
    assert held.events[0].last.startswith("20")
    assert held.revenue == "29.33"
    assert held.attributes["first_name"] == "Ada"
    assert held.attributes["tag_vip"] is True


def test_it_says_that_braze_does_not_know_a_customer(braze: BrazeSettings) -> None:
    assert export.ask(braze, "nobody") == export.Exported(is_known=False)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "check key and endpoint"), (403, "users.export.ids"), (404, "REST endpoint"), (500, "Braze answered 500")],
)
def test_it_says_why_braze_refused(braze: BrazeSettings, sandbox: SandboxServer, status: int, words: str) -> None:
    sandbox.faults.add(status=status)
    assert words in words_of(braze)


@pytest.mark.parametrize(
    "held",
    [
        {"custom_events": [{"name": "VISIT", "count": "many"}]},
        {"purchases": [{"name": "CD", "count": [3]}]},
        {"purchases": [{"name": "CD", "count": 1e300}, 7, None]},
        {"custom_attributes": ["vip"], "custom_events": "none"},
    ],
)
def test_it_reads_an_answer_in_another_form_as_far_as_it_can(
    braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch, held: dict[str, Any]
) -> None:
    body = orjson.dumps({"users": [{"external_id": "c1", "first_name": "Ada", **held}], "message": "success"})
    monkeypatch.setattr(export.client, "post_to", lambda *arguments: export.Answer(201, body))
    found = export.ask(braze, "c1")
    assert found.attributes == {"first_name": "Ada"}
    assert [tally.count for tally in (*found.events, *found.purchases)] in ([0], [])


def test_it_shows_no_key_that_braze_repeats(braze: BrazeSettings) -> None:
    BrazeSettings.objects.update(api_key="invalid")
    braze.refresh_from_db()
    assert "[key]" in words_of(braze)


def test_it_says_that_the_host_cannot_be_reached(braze: BrazeSettings, settings) -> None:
    settings.BRAZE_EXTRA_ENDPOINTS = ["http://127.0.0.1:9"]
    braze.rest_endpoint = "http://127.0.0.1:9"
    assert "http://127.0.0.1:9) could not be reached" in words_of(braze)


def test_it_asks_no_host_outside_the_allow_list(braze: BrazeSettings, sandbox: SandboxServer, settings) -> None:
    settings.BRAZE_EXTRA_ENDPOINTS = []
    assert "is not a Braze REST host" in words_of(braze)
    assert sandbox.requests() == []


def test_it_asks_nothing_for_an_account_that_is_switched_off(braze: BrazeSettings, sandbox: SandboxServer) -> None:
    braze.is_enabled = False
    assert "switched off" in words_of(braze)
    assert sandbox.requests() == []


def test_it_waits_for_a_dripping_answer_no_longer_than_its_total_time(
    braze: BrazeSettings, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(conversation: Conversation) -> None:
        conversation.read_request()
        with suppress(OSError):
            for _ in range(200):  # 4 s
                conversation.sock.sendall(b"H")
                conversation.server.is_over.wait(0.02)

    monkeypatch.setattr(export, "TOTAL_SECONDS", 0.5)
    with serving(drip) as server:
        settings.BRAZE_EXTRA_ENDPOINTS = [server.url]
        braze.rest_endpoint = server.url
        started = time.monotonic()
        assert "did not answer within" in words_of(braze)
        assert time.monotonic() - started < 3


def test_it_has_a_budget_of_its_own_of_250_a_minute(braze: BrazeSettings, redis_client: redis.Redis) -> None:
    export.ask(braze, "c1")
    (key,) = redis_client.keys("braze:*:slot")
    assert limiter.limit_of(braze, "track").budget not in key
    limit = export.limit_of(braze)
    assert limit.spacing_us == pytest.approx(60_000_000 / 250 / limiter.SHARE, abs=1)


def test_it_is_denied_beyond_its_budget(braze: BrazeSettings, sandbox: SandboxServer) -> None:
    limiter.defer(export.limit_of(braze), 30)
    assert "ask again in 30 s" in words_of(braze)
    assert sandbox.requests() == []


def test_it_asks_no_more_for_as_long_as_braze_says(braze: BrazeSettings, sandbox: SandboxServer) -> None:
    sandbox.faults.add(status=429, times=1)
    assert "too many questions" in words_of(braze)
    assert "ask again in" in words_of(braze)
    assert len(sandbox.requests()) == 1


def test_it_says_that_redis_is_away(braze: BrazeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(limiter, "reserve", away)
    assert "Redis" in words_of(braze)

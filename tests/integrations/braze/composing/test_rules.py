"""What is sent and what is skipped, and that each skip says why."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from integrations.braze.composing import rules
from integrations.braze.composing.records import Records
from integrations.braze.integration import TOPICS
from integrations.braze.mapping.objects import Entry
from integrations.braze.models import BrazeSettings
from integrations.outbox.models import Kind
from masivo_braze.loyalty.models import Customer, Event, Order

NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: The toggle that each kind of change needs.
TOGGLES = {
    Kind.CUSTOMER_DELETED: "delete_customers",
    Kind.EVENT: "sync_events",
    Kind.ORDER: "sync_purchases",
    Kind.ORDER_LINE: "sync_purchases",
    Kind.AUDIENCE_JOINED: "sync_audiences",
    Kind.AUDIENCE_LEFT: "sync_audiences",
    Kind.AUDIENCE_RENAMED: "sync_audiences",
}
#: Those that a customer's own changes need, in one way or another.
OF_CUSTOMERS = {"create_customers", "update_customers", "sync_customer_tags"}
#: "Internal events, never forwarded", as Masivo lists them.
INTERNAL = ["REGISTRATION", "FULFILL", "REVERSE", "EXPIRE", "CANCEL", "REDEEM_COUPON", "TIER_ADJUSTMENT"]
GONE = Records(customers={}, events={}, orders={}, purchases={}, audiences={}, profiles={})


def records(event_type: str = "ADD_TO_CART", fulfilled_at: datetime | None = NOW) -> Records:
    return replace(
        GONE,
        customers={"Ada": Customer(external_id="Ada")},
        events={"1": Event(type=event_type, customer=Customer(external_id="Ada"))},
        orders={"1": Order(order_id="A-1", fulfilled_at=fulfilled_at)},
    )


def entry(kind: str, **data: str) -> Entry:
    return Entry(0, kind, "Ada", "1", {"audience_id": "7", "order_id": "A-1", **data})


def everything_but(*toggles: str) -> BrazeSettings:
    return BrazeSettings(**dict.fromkeys(TOPICS, True) | dict.fromkeys(toggles, False))


def only(*toggles: str) -> BrazeSettings:
    return BrazeSettings(**dict.fromkeys(TOPICS, False) | dict.fromkeys(toggles, True))


@pytest.mark.parametrize("kind", list(Kind))
def test_it_sends_every_kind_of_change_with_everything_on(kind: Kind) -> None:
    assert rules.why_skipped(entry(kind), everything_but(), records()) == ""


def test_no_toggle_is_without_a_rule_that_is_tested_here() -> None:
    assert {*TOGGLES.values(), *OF_CUSTOMERS} == TOPICS.keys()


@pytest.mark.parametrize(("kind", "toggle"), TOGGLES.items())
def test_it_skips_what_is_switched_off_and_says_so(kind: Kind, toggle: str) -> None:
    assert "switched off" in rules.why_skipped(entry(kind), everything_but(toggle), records())


@pytest.mark.parametrize(("kind", "toggle"), TOGGLES.items())
def test_it_asks_for_no_other_toggle_than_its_own(kind: Kind, toggle: str) -> None:
    assert rules.why_skipped(entry(kind), only(toggle), records()) == ""


@pytest.mark.parametrize(
    ("kind", "on", "is_sent"),
    [
        (Kind.CUSTOMER_CREATED, (), False),
        (Kind.CUSTOMER_CREATED, ("create_customers",), True),
        (Kind.CUSTOMER_CREATED, ("update_customers",), False),
        (Kind.CUSTOMER_CREATED, ("sync_customer_tags",), True),
        (Kind.CUSTOMER_UPDATED, (), False),
        (Kind.CUSTOMER_UPDATED, ("create_customers",), False),
        (Kind.CUSTOMER_UPDATED, ("update_customers",), True),
        (Kind.CUSTOMER_UPDATED, ("sync_customer_tags",), True),
        (Kind.CUSTOMER_UPDATED, ("delete_customers",), False),
    ],
)
def test_it_lets_a_customers_change_out_by_its_own_toggle_or_the_tags(
    kind: Kind, on: tuple[str, ...], is_sent: bool
) -> None:
    reason = rules.why_skipped(entry(kind), only(*on), records())
    assert (reason == "") == is_sent
    assert is_sent or "switched off" in reason


def test_it_lets_the_profile_itself_out_by_its_own_toggle_only() -> None:
    tags = only("sync_customer_tags")
    assert not rules.sends_profile(Kind.CUSTOMER_CREATED, tags)
    assert not rules.sends_profile(Kind.CUSTOMER_UPDATED, tags)
    assert rules.sends_profile(Kind.CUSTOMER_CREATED, only("create_customers"))
    assert not rules.sends_profile(Kind.CUSTOMER_CREATED, only("update_customers"))
    assert rules.sends_profile(Kind.CUSTOMER_UPDATED, only("update_customers"))


@pytest.mark.parametrize("event_type", INTERNAL)
def test_it_never_forwards_an_internal_event(event_type: str) -> None:
    reason = rules.why_skipped(entry(Kind.EVENT), everything_but(), records(event_type))
    assert event_type in reason and "internal" in reason


@pytest.mark.parametrize("event_type", ["registration", "Cancel", "CANCELLED", "EXPIRED", "REDEEM", " CANCEL", "TIER"])
def test_it_forwards_what_is_merely_similar_to_an_internal_event(event_type: str) -> None:
    assert rules.why_skipped(entry(Kind.EVENT), everything_but(), records(event_type)) == ""


def test_it_has_no_other_internal_events() -> None:
    assert sorted(INTERNAL) == sorted(rules.INTERNAL_EVENTS)


@pytest.mark.parametrize(
    "kind", [Kind.EVENT, Kind.ORDER, Kind.ORDER_LINE, Kind.CUSTOMER_CREATED, Kind.CUSTOMER_UPDATED]
)
def test_it_skips_what_is_no_longer_there(kind: Kind) -> None:
    assert "no longer there" in rules.why_skipped(entry(kind), everything_but(), GONE)


def test_it_deletes_a_customer_who_is_no_longer_there() -> None:
    assert rules.why_skipped(entry(Kind.CUSTOMER_DELETED), everything_but(), GONE) == ""


def test_it_takes_a_left_audience_off_whoever_left_it_even_if_it_is_gone() -> None:
    assert rules.why_skipped(entry(Kind.AUDIENCE_LEFT), everything_but(), GONE) == ""


@pytest.mark.parametrize("kind", [Kind.ORDER, Kind.ORDER_LINE])
def test_it_skips_an_order_that_was_never_fulfilled(kind: Kind) -> None:
    assert "never fulfilled" in rules.why_skipped(entry(kind), everything_but(), records(fulfilled_at=None))


@pytest.mark.parametrize("kind", [Kind.AUDIENCE_JOINED, Kind.AUDIENCE_LEFT, Kind.AUDIENCE_RENAMED])
def test_it_skips_an_audience_without_an_id(kind: Kind) -> None:
    assert "audience_id" in rules.why_skipped(entry(kind, audience_id=""), everything_but(), records())

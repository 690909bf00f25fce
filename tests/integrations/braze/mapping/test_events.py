"""Events in the shape that Braze documents: flat, under names it takes, within its limits."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest

from integrations.braze.mapping import events
from integrations.braze.mapping.values import scalar
from integrations.braze.models import Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event

BOGOTA = timezone(timedelta(hours=-5))
MOMENT = datetime(2026, 3, 1, 22, 30, 15, 123456, tzinfo=BOGOTA)
NOW = datetime(2026, 3, 5, tzinfo=UTC)
EVENT_ID = UUID("3f6c0f0e-5f6e-4a44-9d5e-1f0c5d3c2b1a")
LARGE = 2**64


class Sent(NamedTuple):
    body: dict[str, Any]
    adjustments: tuple[str, ...]


def mapped(data: dict[str, Any] | None = None, **fields: Any) -> Sent:
    known = {"id": EVENT_ID, "type": "ADD_TO_CART", "occurred_at": MOMENT, "data": data or {}}
    encoded, adjustments = events.event(Event(customer=Customer(external_id="Ada-1"), **known | fields), NOW)
    return Sent(orjson.loads(encoded), adjustments)


def properties(data: dict[str, Any]) -> dict[str, Any]:
    """All but our own."""
    sent = mapped(data).body["properties"]
    assert sent.pop("event_id") == str(EVENT_ID)
    return sent


def test_it_makes_an_event_object_as_documented() -> None:
    assert mapped({"order": {"value": 1, "items": ["a", "b"]}, "note": None}) == (
        {
            "external_id": "Ada-1",
            "name": "ADD_TO_CART",
            "time": "2026-03-02T03:30:15.123Z",
            "properties": {"order_value": 1, "order_items": ["a", "b"], "event_id": str(EVENT_ID)},
        },
        (),
    )


def test_it_flattens_nested_objects_and_numbers_lists_of_them() -> None:
    data = {"cart": {"items": [{"sku": "A", "qty": 2}, {"sku": "B"}], "tags": ["x", None, 1], "grid": [[1], [2, 3]]}}
    assert properties(data) == {
        "cart_items_0_sku": "A",
        "cart_items_0_qty": 2,
        "cart_items_1_sku": "B",
        "cart_tags": ["x", 1],
        "cart_grid_0": [1],
        "cart_grid_1": [2, 3],
    }


def test_it_omits_nulls_and_keeps_what_is_merely_empty() -> None:
    data = {"none": None, "no": False, "zero": 0, "text": "", "list": []}
    assert properties(data) == {"no": False, "zero": 0, "text": "", "list": []}
    assert mapped(data).adjustments == ()


def test_two_paths_of_one_flat_name_both_survive_whatever_their_order() -> None:
    items: list[tuple[str, Any]] = [("a", {"b": 1}), ("a_b", 2), ("a_b_2", 3), ("$x", 4), ("x", 5), ("", 6), ("$", 7)]
    expected = {"a_b": 2, "a_b_2": 3, "a_b_3": 1, "x": 5, "x_2": 4, "property": 6, "property_2": 7}
    for seed in range(20):
        random.Random(seed).shuffle(items)
        assert properties(dict(items)) == expected


@pytest.mark.parametrize("name", ["time", "event_name", "event_id", "original_time"])
def test_it_gives_reserved_names_another_one_and_says_so(name: str) -> None:
    body, adjustments = mapped({name: "mine", "order": {name: "nested is not reserved"}})
    assert body["properties"][f"{name}_2"] == "mine"
    assert body["properties"].get(name) != "mine"
    assert body["properties"][f"order_{name}"] == "nested is not reserved"
    assert adjustments == (f"“{name}” is sent as “{name}_2”",)


def test_it_takes_dollars_off_the_beginning_of_names() -> None:
    assert properties({"$set": {"$name": 1}, "$$a": 2, "b$": 3}) == {"set_$name": 1, "a": 2, "b$": 3}
    assert properties({"\x00$c": 4}) == {"c": 4}


def test_it_cuts_names_and_texts_of_more_than_255_characters_and_says_so() -> None:
    long, longer = "k" * 255, "k" * 256
    body, adjustments = mapped({long: 1, longer: 2, "text": "é" * 256, "list": ["x" * 300, "y"]})
    sent = body["properties"]
    assert (sent[long], sent["k" * 253 + "_2"]) == (1, 2)
    assert (sent["text"], sent["list"]) == ("é" * 255, ["x" * 255, "y"])
    assert len(adjustments) == 3


@pytest.mark.parametrize(("given", "left_out"), [(254, 0), (255, 1), (300, 46)])
def test_it_keeps_256_properties_its_own_among_them(given: int, left_out: int) -> None:
    body, adjustments = mapped({f"p{n}": n for n in range(given)}, occurred_at=NOW + timedelta(days=1))
    assert len(body["properties"]) == 256
    assert list(body["properties"])[:254] == [f"p{n}" for n in range(254)]
    assert body["properties"]["event_id"] == str(EVENT_ID)
    cut = [sentence for sentence in adjustments if "over 256" in sentence]
    assert [sentence.split(" left out: “p254”")[0] for sentence in cut] == (
        [f"{left_out} properties over 256"] if left_out else []
    )


def test_it_leaves_out_the_largest_properties_of_more_than_100_kb() -> None:
    body, adjustments = mapped({"huge": ["x" * 200] * 600, "some": ["y" * 200] * 100, "small": 1})
    assert set(body["properties"]) == {"some", "small", "event_id"}
    assert len(orjson.dumps(body["properties"])) <= 102_400
    assert adjustments == ("1 properties left out, over 102 KB: “huge”",)


def test_it_fills_100_kb_to_the_last_few_bytes() -> None:
    body, adjustments = mapped({f"p{n}": ["é" * 200] * 10 for n in range(24)})
    assert adjustments == ()
    assert 95_000 < len(orjson.dumps(body["properties"])) <= 102_400


def test_it_measures_many_escaped_texts_rightly() -> None:
    """A control character is one character to Python, and six bytes of JSON."""
    body, adjustments = mapped({f"p{n:03}": "\x01" * 255 for n in range(200)})
    assert len(orjson.dumps(body["properties"])) <= 102_400
    assert len(adjustments) == 1


def test_it_writes_values_that_json_lacks_as_documented() -> None:
    values = [Decimal("1.50"), Decimal("2.00"), date(2026, 3, 1), MOMENT, EVENT_ID, datetime(2026, 3, 1)]
    written = [scalar("x", value, []) for value in values]
    assert written == [1.5, 2, "2026-03-01", "2026-03-02T03:30:15.123Z", str(EVENT_ID), "2026-03-01T00:00:00"]
    assert type(written[1]) is int


@pytest.mark.parametrize("number", [LARGE, -LARGE, 10**40, 2**63])
def test_it_sends_integers_too_large_for_a_json_number_as_their_digits(number: int) -> None:
    body, adjustments = mapped({"serial": number, "list": [number]})
    assert (body["properties"]["serial"], body["properties"]["list"]) == (str(number), [str(number)])
    assert len(adjustments) == 2


def test_it_leaves_out_what_no_json_number_is() -> None:
    body, adjustments = mapped({"nan": float("nan"), "list": [float("inf"), 1], "decimal": Decimal("NaN")})
    assert body["properties"] == {"list": [1], "event_id": str(EVENT_ID)}
    assert len(adjustments) == 3


def test_it_takes_out_characters_that_json_cannot_carry() -> None:
    body, adjustments = mapped({"a": "x\x00y", "b\ud800": "\udfffz"})
    assert body["properties"] == {"a": "xy", "b?": "?z", "event_id": str(EVENT_ID)}
    assert orjson.dumps(body) and len(adjustments) == 3
    assert all(sentence.encode() for sentence in adjustments)


def test_an_event_to_come_gets_the_current_time_and_keeps_its_own() -> None:
    """Braze: future timestamps "default to the current time"."""
    body, adjustments = mapped(occurred_at=NOW + timedelta(days=1))
    assert body["time"] == "2026-03-05T00:00:00.000Z"
    assert body["properties"]["original_time"] == "2026-03-06T00:00:00.000Z"
    assert "2026-03-06" in adjustments[0]
    assert mapped(occurred_at=NOW).body["properties"] == {"event_id": str(EVENT_ID)}


def test_an_event_of_long_ago_keeps_its_time() -> None:
    assert mapped(occurred_at=datetime(997, 1, 1, tzinfo=UTC)).body["time"] == "0997-01-01T00:00:00.000Z"


def test_a_name_for_which_braze_has_a_schema_is_changed_and_a_long_one_cut() -> None:
    body, adjustments = mapped(type="ecommerce.order_placed")
    assert body["name"] == "masivo_ecommerce.order_placed"
    assert len(adjustments) == 1
    assert mapped(type="ecommerce.anything").body["name"] == "ecommerce.anything"
    assert mapped(type="N" * 300).body["name"] == "N" * 255


def test_it_keeps_no_more_than_a_score_of_sentences() -> None:
    adjustments = mapped({f"${n}": 1 for n in range(100)}).adjustments
    assert len(adjustments) == 21
    assert adjustments[-1] == "and 80 more"


# --- on the way -----------------------------------------------------------------------------------------


def test_adjustments_are_kept_on_the_entry_and_nothing_is_dropped_by_braze(
    account: Account, braze: Any, sync: Callable[[], None], sandbox: SandboxServer
) -> None:
    ada = Customer.objects.create(account=account, external_id="Ada-1")
    data = {"time": 1, "event_name": "x", "$a": {"": [{"b": None}, 3]}, "n": LARGE, "e": {}, "s": "x" * 999}
    made = Event.objects.create(
        account=account, customer=ada, type="ecommerce.order_placed", data=data,
        occurred_at=datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    sync()
    entry = OutboxEntry.objects.get(kind="event")
    assert entry.status == "delivered"
    assert len(entry.adjustments) == 7
    assert (sandbox.summary()["rejected"], sandbox.summary()["dropped"]) == (0, {})
    (sent,) = Delivery.objects.get().payload["events"]
    assert sent["properties"] == {
        "time_2": 1, "event_name_2": "x", "a__1": 3, "n": str(LARGE), "s": "x" * 255, "event_id": str(made.pk),
        "original_time": sent["properties"]["original_time"],
    }  # fmt: skip

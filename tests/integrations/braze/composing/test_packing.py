"""Full requests within Braze's limits, each customer in one of them, each object's owner written beside it."""

import math
import random
import zlib
from itertools import chain

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.braze.composing import packing
from integrations.braze.composing.packing import Draft
from integrations.braze.mapping.objects import BrazeObject, Bundle
from integrations.braze.models import BrazePurchase, BrazeSettings, Delivery, Endpoint
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.integrations.braze.fates import Sync

#: Objects per array that one customer may have in a request: attributes, events, purchases.
PER_ARRAY = st.tuples(st.integers(0, 1), st.integers(0, 75), st.integers(0, 75))
COMBINED = st.tuples(st.integers(0, 1), st.integers(0, 74), st.integers(0, 74)).filter(lambda sizes: sum(sizes) <= 75)
ARRAYS = ("attributes", "events", "purchases")


def bundle(customer: str, sizes: tuple[int, int, int], padding: int = 0) -> Bundle:
    """A customer's objects; each entry id tells whose it is and where it stands."""
    result = Bundle(customer)
    for name, size in zip(ARRAYS, sizes, strict=True):
        for number in range(size):
            body = orjson.dumps({"external_id": customer, "number": number, "of": name, "padding": "x" * padding})
            purchase = BrazePurchase(pk=number + 1) if name == "purchases" else None
            getattr(result, name).append(BrazeObject(customer, body, (number,), purchase=purchase))
    return result


def bundles(sizes: list[tuple[int, int, int]]) -> list[Bundle]:
    return [bundle(f"c{number}", each) for number, each in enumerate(sizes)]


def deletion(number: int) -> Bundle:
    customer = f"d{number}"
    result = Bundle(customer)
    result.deletions.append(BrazeObject(customer, orjson.dumps({"external_id": customer}), (number,)))
    return result


def sizes(draft: Draft) -> list[int]:
    return [len(getattr(draft, name)) for name in ARRAYS]


def payload(delivery: Delivery) -> dict[str, list[dict[str, object]]]:
    body: dict[str, list[dict[str, object]]] = orjson.loads(zlib.decompress(delivery.body))
    return body


@settings(max_examples=25, deadline=None)
@given(st.lists(PER_ARRAY, max_size=15))
def test_it_never_puts_more_than_75_into_an_array(customers: list[tuple[int, int, int]]) -> None:
    assert all(max(sizes(draft)) <= 75 for draft in packing.pack(bundles(customers), "per_array"))


@settings(max_examples=25, deadline=None)
@given(st.lists(COMBINED, max_size=15))
def test_it_never_puts_more_than_75_into_a_combined_request(customers: list[tuple[int, int, int]]) -> None:
    assert all(sum(sizes(draft)) <= 75 for draft in packing.pack(bundles(customers), "combined"))


@settings(max_examples=25, deadline=None)
@given(st.lists(COMBINED, max_size=15), st.sampled_from(["per_array", "combined"]))
def test_it_packs_each_object_once_and_no_customer_into_two_requests(
    customers: list[tuple[int, int, int]], limit: str
) -> None:
    given_bundles = bundles(customers)
    drafts = packing.pack(given_bundles, limit)
    owners = [{item.customer for name in ARRAYS for item in getattr(draft, name)} for draft in drafts]
    assert all(owners)
    assert len(set().union(*owners)) == sum(map(len, owners))
    for name in ARRAYS:
        packed = [id(item) for draft in drafts for item in getattr(draft, name)]
        assert sorted(packed) == sorted(id(item) for each in given_bundles for item in getattr(each, name))


@settings(max_examples=25, deadline=None)
@given(st.lists(COMBINED, max_size=8), st.sampled_from(["per_array", "combined"]))
def test_it_writes_a_manifest_line_beside_each_object(customers: list[tuple[int, int, int]], limit: str) -> None:
    for draft in packing.pack(bundles(customers), limit):
        delivery = packing.delivery(draft, account_id=1)
        body = payload(delivery)
        assert {*body, "unfinished"} == set(delivery.manifest)
        for name, items in body.items():
            lines = delivery.manifest[name]
            assert [(line["customer"], line["entries"]) for line in lines] == [
                (item["external_id"], [item["number"]]) for item in items
            ]
            assert getattr(delivery, name) == len(items)
        assert [line["purchase"] for line in delivery.manifest.get("purchases", [])] == [
            item.purchase.pk for item in draft.purchases if item.purchase
        ]


def test_it_keeps_a_customers_objects_in_their_order() -> None:
    (draft,) = packing.pack([bundle("a", (1, 30, 0)), bundle("b", (0, 20, 5))], "per_array")
    order = [(item.customer, item.body["number"]) for item in draft.events]
    assert order == [("a", n) for n in range(30)] + [("b", n) for n in range(20)]


@pytest.mark.parametrize("count", [1, 49, 50, 51, 149])
def test_it_sends_deletions_in_fifties_in_requests_of_their_own(count: int) -> None:
    drafts = packing.pack([bundle("a", (1, 1, 1)), *map(deletion, range(count))], "per_array")
    deletes = [draft for draft in drafts if draft.endpoint == Endpoint.DELETE]
    assert [len(draft.deletions) for draft in deletes] == [50] * (count // 50) + [count % 50] * bool(count % 50)
    assert all(sizes(draft) == [0, 0, 0] for draft in deletes)
    assert not any(draft.deletions for draft in drafts if draft.endpoint == Endpoint.TRACK)


def test_it_writes_a_deletion_as_braze_documents_it() -> None:
    (draft,) = packing.pack([deletion(1), deletion(2)], "combined")
    delivery = packing.delivery(draft, account_id=1)
    assert payload(delivery) == {"external_ids": ["d1", "d2"]}
    assert [(line["customer"], line["entries"]) for line in delivery.manifest["deletions"]] == [
        ("d1", [1]),
        ("d2", [2]),
    ]
    assert delivery.deletions == 2


def test_it_leaves_empty_arrays_out_of_a_body() -> None:
    (draft,) = packing.pack([bundle("a", (0, 2, 0))], "per_array")
    assert list(payload(packing.delivery(draft, account_id=1))) == ["events"]


def test_it_makes_no_request_of_nothing() -> None:
    assert packing.pack([Bundle("a"), Bundle("b")], "combined") == []


def test_it_tells_what_did_not_fit() -> None:
    first, second = bundle("a", (0, 1, 0)), bundle("b", (0, 1, 0))
    first.unfinished, second.unfinished = {7}, {3}
    (draft,) = packing.pack([first, second], "per_array")
    assert packing.delivery(draft, account_id=1).manifest["unfinished"] == [3, 7]


def test_it_stays_below_brazes_four_megabytes() -> None:
    drafts = packing.pack([bundle(f"c{n}", (0, 10, 0), padding=90_000) for n in range(9)], "per_array")
    deliveries = [packing.delivery(draft, account_id=1) for draft in drafts]
    assert all(delivery.bytes < 4_000_000 for delivery in deliveries)
    assert len(deliveries) == 3
    assert [delivery.bytes for delivery in deliveries] == [len(zlib.decompress(each.body)) for each in deliveries]


def test_it_gives_each_request_an_id_of_its_own() -> None:
    drafts = packing.pack([bundle("a", (0, 75, 0)), bundle("b", (0, 75, 0))], "per_array")
    assert len({draft.id for draft in drafts}) == 2
    assert packing.delivery(drafts[0], account_id=1).pk == drafts[0].id


@pytest.mark.parametrize("limit", ["per_array", "combined"])
def test_it_fills_requests_nearly_as_well_as_can_be(limit: str) -> None:
    """A day's mixture: most customers have a change or two, a few have many."""
    chance = random.Random(7)
    customers = [
        (chance.choice((0, 1)), min(60, int(chance.expovariate(0.5))), chance.choice((0, 0, 0, 1, 5)))
        for _ in range(2000)
    ]
    customers = [each if limit == "per_array" or sum(each) <= 75 else (0, 1, 0) for each in customers]
    drafts = packing.pack(bundles(customers), limit)
    totals = [sum(column) for column in zip(*customers, strict=True)]
    fewest = math.ceil((max(totals) if limit == "per_array" else sum(totals)) / 75)
    assert len(drafts) <= 1.03 * fewest + 1


def test_it_fills_the_gaps_of_earlier_requests() -> None:
    drafts = packing.pack(bundles([(0, 60, 0)] * 8 + [(0, 15, 0)] * 8), "combined")
    assert [len(draft.events) for draft in drafts] == [75] * 8


def test_it_fills_requests_of_single_objects_to_the_brim() -> None:
    drafts = packing.pack(bundles([(1, 0, 0)] * 750), "combined")
    assert [len(draft.attributes) for draft in drafts] == [75] * 10
    assert len(set(chain.from_iterable((item.customer for item in draft.attributes) for draft in drafts))) == 750


@pytest.mark.parametrize("limit", ["per_array", "combined"])
def test_a_customer_with_more_events_than_a_request_holds_keeps_their_order(
    account: Account, braze: BrazeSettings, one: Customer, sync: Sync, limit: str
) -> None:
    BrazeSettings.objects.update(batch_limit=limit)
    Event.objects.bulk_create(Event(account=account, customer=one, type="E", data={"n": n}) for n in range(200))
    sync()
    sent = [
        event["properties"]["n"]
        for delivery in Delivery.objects.order_by("started_at")
        for event in delivery.payload.get("events", [])
    ]
    assert sent == list(range(200))

"""Section 9, row by row: the status and the words of every error."""

from typing import Any

import pytest

from integrations.braze.sandbox.limits import Limit
from tests.integrations.braze.sandbox.client import TIME, Braze, json_of

SYNTAX = {"message": "Bad Request", "error": "Error while parsing request body. Please check your syntax."}
NO_VALID_DATA = "Valid data must be provided in the 'attributes', 'events', or 'purchases' fields."


def attributes(count: int) -> dict[str, Any]:
    return {"attributes": [{"external_id": f"u{number}", "points": 1} for number in range(count)]}


def ids(count: int) -> dict[str, Any]:
    return {"external_ids": [f"u{number}" for number in range(count)]}


def aliases(count: int) -> dict[str, Any]:
    return {"user_aliases": [{"alias_name": str(number), "alias_label": "a"} for number in range(count)]}


FATAL = {
    "9.1 400 invalid JSON": ("/users/track", {"body": b'{"events": ['}, 400, SYNTAX),
    "9.1 400 empty body": ("/users/track", {"body": b""}, 400, SYNTAX),
    "9.1 400 no data": ("/users/track", {"document": {}}, 400, {"message": NO_VALID_DATA}),
    "9.1 400 too many objects": ("/users/track", {"document": attributes(76)}, 400, "Max Input Length Exceeded"),
    "9.1 400 too many ids, delete": (
        "/users/delete",
        {"document": ids(51)},
        400,
        "The max number of ids per request was exceeded",
    ),
    "9.1 400 too many aliases, delete": (
        "/users/delete",
        {"document": aliases(51)},
        400,
        "The max number of external_ids and aliases per request was exceeded",
    ),
    "9.1 400 too many ids, export": (
        "/users/export/ids",
        {"document": ids(51)},
        400,
        "The max number of external_ids and aliases per request was exceeded",
    ),
    "9.1 413 body over 4 MB": (
        "/users/track",
        {"body": b'{"attributes":[]}' + b" " * 4 * 1024 * 1024},
        413,
        "Request Entity Too Large",
    ),
    "9.1 401 wrong key, repeated": (
        "/users/track",
        {"authorization": "Bearer invalid"},
        401,
        "Invalid API key: invalid",
    ),
    "9.1 401 missing Bearer": ("/users/track", {"authorization": "a-test-key"}, 401, "Invalid API key: a-test-key"),
    "9.1 401 no header": ("/users/track", {"authorization": ""}, 401, "Invalid API key: "),
    "9.1 403 trailing slash": ("/users/track/", {"document": attributes(1)}, 403, "Access Denied"),
    "9.1 404 invalid URL": ("/users/trak", {"document": {}}, 404, "Not Found"),
    "9.1 415 content type": (
        "/users/track",
        {"document": attributes(1), "content_type": "text/plain"},
        415,
        "Unsupported Media Type",
    ),
    "9.1 415 no content type": (
        "/users/track",
        {"document": attributes(1), "content_type": ""},
        415,
        "Unsupported Media Type",
    ),
}


@pytest.mark.parametrize(("path", "call", "status", "answer"), FATAL.values(), ids=FATAL)
def test_it_refuses_the_whole_request_in_braze_s_words(
    braze: Braze, path: str, call: dict[str, Any], status: int, answer: str | dict[str, str]
) -> None:
    response = braze.post(path, **call)
    assert response.status == status
    assert json_of(response) == ({"message": answer} if isinstance(answer, str) else answer)
    assert braze.summary["profiles"] == 0


@pytest.mark.parametrize(
    ("path", "granted", "needed"),
    [
        ("/users/track", "users.delete", "users.track"),
        ("/users/delete", "users.track,users.export.ids", "users.delete"),
        ("/users/export/ids", "users.track", "users.export.ids"),
    ],
)
def test_it_refuses_a_key_without_the_permission_9_1(path: str, granted: str, needed: str) -> None:
    documents = {"/users/track": attributes(1)}
    document = documents.get(path, ids(1))
    refused = Braze(keys=[f"a-test-key:{granted}"]).post(path, document)
    assert (refused.status, json_of(refused)) == (403, {"message": "Access Denied"})
    assert Braze(keys=[f"a-test-key:{needed}"]).post(path, document).status == 201


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_it_answers_5xx_when_asked_to_9_1(braze: Braze, status: int) -> None:
    braze.sandbox.faults.add(status=status, times=1)
    response = braze.track(**attributes(1))
    assert response.status == status
    assert response.content_type == ("application/json" if status == 500 else "text/html")
    assert not braze.has("u0")
    assert braze.track(**attributes(1)).status == 201


@pytest.mark.parametrize(
    ("status", "text"),
    [(403, "Forbidden"), (404, "Unknown REST API Key"), (429, "Over rate limit"), (400, "Bad Request")],
)
def test_it_answers_errors_it_has_no_reason_for_when_asked_to_9_1(braze: Braze, status: int, text: str) -> None:
    """An inactive account, an old wording: not for a sandbox to decide, but for a client to meet."""
    braze.sandbox.faults.add(status=status, message=text)
    response = braze.track(**attributes(1))
    assert (response.status, json_of(response)) == (status, {"message": text})
    assert not braze.has("u0")


def test_it_answers_202_queued_when_asked_to_9_1(braze: Braze) -> None:
    braze.sandbox.faults.add(status=202, apply=True)
    response = braze.track(**attributes(1))
    assert (response.status, json_of(response)) == (202, {"message": "queued"})
    assert braze.has("u0")


def test_it_answers_429_over_the_limit_9_1() -> None:
    braze = Braze(track_limit=Limit(1, 3.0))
    assert braze.track(**attributes(1)).status == 201
    refused = braze.track(**attributes(1))
    assert (refused.status, json_of(refused)) == (429, {"message": "Rate Limited"})


EVENT = {"external_id": "u", "name": "visit", "time": TIME}
PURCHASE = {"external_id": "u", "product_id": "p", "currency": "USD", "price": 1.5, "time": TIME}
REQUIRED = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"
ONLY_ONE = "You must specify only one of 'external_id', 'user_alias' or 'braze_id'"
ALIAS = {"alias_name": "n", "alias_label": "l"}
GROUP = {"subscription_group_id": "g", "subscription_state": "subscribed"}
TOKEN = {"app_id": "a", "token": "t"}

PER_OBJECT = {
    "9.2 email_subscribe": (
        "attributes",
        {"external_id": "u", "email_subscribe": "yes"},
        "'email_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'",
    ),
    "9.2 push_subscribe": (
        "attributes",
        {"external_id": "u", "push_subscribe": True},
        "'push_subscribe' must be 'subscribed', 'unsubscribed', or 'opted_in'",
    ),
    "1.2 two primaries": ("attributes", {"external_id": "u", "user_alias": ALIAS}, ONLY_ONE),
    "1.2 two primaries, event": ("events", {**EVENT, "braze_id": "b"}, ONLY_ONE),
    "1.1 no identifier": ("attributes", {"points": 1}, REQUIRED),
    "1.1 null identifier": ("events", {**EVENT, "external_id": None}, REQUIRED),
    "1.1 empty identifier": ("purchases", {**PURCHASE, "external_id": ""}, REQUIRED),
    "1.1 numeric identifier": ("attributes", {"external_id": 7}, REQUIRED),
    "1.1 half an alias": ("attributes", {"user_alias": {"alias_name": "n"}}, REQUIRED),
    "1.1 not an object": ("attributes", "u", REQUIRED),
    "9.2 quantity too large": ("purchases", {**PURCHASE, "quantity": 101}, "'quantity' is not valid"),
    "5.2 quantity zero": ("purchases", {**PURCHASE, "quantity": 0}, "'quantity' is not valid"),
    "10.10 quantity negative": ("purchases", {**PURCHASE, "quantity": -1}, "'quantity' is not valid"),
    "5.2 quantity a fraction": ("purchases", {**PURCHASE, "quantity": 1.5}, "'quantity' is not valid"),
    "9.2 currency": ("purchases", {**PURCHASE, "currency": "usd"}, "'currency' must be an ISO 4217 currency"),
    "5.2 no currency": ("purchases", {**PURCHASE, "currency": None}, "'currency' must be an ISO 4217 currency"),
    "9.2 email": (
        "attributes",
        {"external_id": "u", "email": "no at sign"},
        "The value provided for the 'email' field is not a valid email.",
    ),
    "9.2 email as identifier": (
        "events",
        {"email": "a@b", "name": "visit", "time": TIME},
        "The value provided for the 'email' field is not a valid email.",
    ),
    "9.2 external id of 988 bytes": (
        "attributes",
        {"external_id": "é" * 494},
        "'external_id' must be fewer than 988 bytes",
    ),
    "9.2 blacklisted": (
        "attributes",
        {"external_id": "guest"},
        "provided external_id is blacklisted and disallowed",
    ),
    "5.2 reserved property": ("purchases", {**PURCHASE, "properties": {"price": 1}}, "Invalid 'properties' field"),
    "4 reserved property": ("events", {**EVENT, "properties": {"time": 1}}, "Invalid 'properties' field"),
    "4 properties no object": ("events", {**EVENT, "properties": []}, "Invalid 'properties' field"),
    "9.2 BAD_LOCATION_UPDATE": (
        "attributes",
        {"external_id": "u", "current_location": {"latitude": 1}},
        "BAD_LOCATION_UPDATE",
    ),
    "9.2 location of booleans": (
        "attributes",
        {"external_id": "u", "current_location": {"latitude": True, "longitude": 1}},
        "BAD_LOCATION_UPDATE",
    ),
    "9.2 BAD_PUSH_TOKEN_IMPORT, identified": (
        "attributes",
        {"external_id": "u", "push_token_import": True, "push_tokens": [TOKEN]},
        "BAD_PUSH_TOKEN_IMPORT",
    ),
    "9.2 BAD_PUSH_TOKEN_IMPORT, no token": ("attributes", {"push_token_import": True}, "BAD_PUSH_TOKEN_IMPORT"),
    "9.2 BAD_DEVICE_ID": (
        "attributes",
        {"external_id": "u", "push_tokens": [{**TOKEN, "device_id": "short"}]},
        "BAD_DEVICE_ID",
    ),
    "9.2 BAD_PUSH_TOKEN_APP_ID": (
        "attributes",
        {"external_id": "u", "push_tokens": [{"token": "t"}]},
        "BAD_PUSH_TOKEN_APP_ID",
    ),
    "9.2 BAD_PUSH_TOKEN_STRING": (
        "attributes",
        {"external_id": "u", "push_tokens": [{"app_id": "a"}]},
        "BAD_PUSH_TOKEN_STRING",
    ),
    "9.2 BAD_PUSH_TOKEN_VALUE": ("attributes", {"external_id": "u", "push_tokens": "t"}, "BAD_PUSH_TOKEN_VALUE"),
    "9.2 BAD_SUBSCRIPTION_GROUP_ARRAY": (
        "attributes",
        {"external_id": "u", "subscription_groups": GROUP},
        "BAD_SUBSCRIPTION_GROUP_ARRAY",
    ),
    "9.2 BAD_SUBSCRIPTION_GROUP_HASH": (
        "attributes",
        {"external_id": "u", "subscription_groups": ["g"]},
        "BAD_SUBSCRIPTION_GROUP_HASH",
    ),
    "9.2 BAD_SUBSCRIPTION_GROUP_ID": (
        "attributes",
        {"external_id": "u", "subscription_groups": [{**GROUP, "subscription_group_id": 1}]},
        "BAD_SUBSCRIPTION_GROUP_ID",
    ),
    "9.2 BAD_SUBSCRIPTION_GROUP_STATE": (
        "attributes",
        {"external_id": "u", "subscription_groups": [{**GROUP, "subscription_state": "maybe"}]},
        "BAD_SUBSCRIPTION_GROUP_STATE",
    ),
    "9.2 INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO": (
        "attributes",
        {"external_id": "u", "email_subscription_info": {}},
        "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO",
    ),
    # No source gives Braze's words for these; that the object is rejected is documented.
    "4 no name": ("events", {**EVENT, "name": ""}, "'name' is required and must be a string"),
    "4 no time": ("events", {**EVENT, "time": None}, "'time' is required and must be an ISO 8601 time"),
    "4 time no date": ("events", {**EVENT, "time": "yesterday"}, "'time' is required and must be an ISO 8601 time"),
    "5.2 time an epoch": (
        "purchases",
        {**PURCHASE, "time": 1700000000},
        "'time' is required and must be an ISO 8601 time",
    ),
    "5.2 price a string": ("purchases", {**PURCHASE, "price": "1.5"}, "'price' is required and must be a number"),
    "5.2 price a boolean": ("purchases", {**PURCHASE, "price": True}, "'price' is required and must be a number"),
    "5.2 product id too long": (
        "purchases",
        {**PURCHASE, "product_id": "p" * 256},
        "'product_id' is required and must be a string of at most 255 characters",
    ),
}
GOOD = {"attributes": {"external_id": "good", "points": 1}, "events": {**EVENT, "external_id": "good"}}
GOOD["purchases"] = {**PURCHASE, "external_id": "good"}


@pytest.mark.parametrize(("array", "item", "text"), PER_OBJECT.values(), ids=PER_OBJECT)
def test_it_rejects_one_object_in_braze_s_words(array: str, item: Any, text: str) -> None:
    braze = Braze(blacklisted_users=["guest"])
    response = braze.track(**{array: [GOOD[array], item]})
    assert response.status == 201
    assert json_of(response) == {
        f"{array}_processed": 1,
        "errors": [{"index": 1, "input_array": array, "type": text}],
        "message": "success",
    }
    assert braze.summary["profiles"] == 1, "a rejected object creates nothing [1.8]"
    assert braze.summary["rejected"] == 1


@pytest.mark.parametrize(("array", "item", "text"), PER_OBJECT.values(), ids=PER_OBJECT)
def test_it_answers_400_when_every_object_is_rejected_1_9(array: str, item: Any, text: str) -> None:
    braze = Braze(blacklisted_users=["guest"])
    response = braze.track(**{array: [item]})
    errors = [{"index": 0, "input_array": array, "type": text}]
    assert (response.status, json_of(response)) == (400, {"message": NO_VALID_DATA, "errors": errors})


@pytest.mark.parametrize(
    ("array", "item"),
    [
        ("attributes", {"external_id": "x" * 987}),
        ("attributes", {"external_id": "u", "user_alias": None, "braze_id": None}),
        ("attributes", {"external_id": "u", "email_subscribe": "opted_in", "push_subscribe": "unsubscribed"}),
        ("attributes", {"external_id": "u", "email": None}),
        ("attributes", {"external_id": "u", "subscription_groups": [GROUP], "push_tokens": [TOKEN]}),
        ("attributes", {"external_id": "u", "current_location": {"latitude": -90, "longitude": 180.0}}),
        ("attributes", {"user_alias": ALIAS}),
        ("events", {"phone": "+4930123456", "name": "visit", "time": TIME}),
        ("events", {**EVENT, "properties": {"price": 1, "quantity": 2, "product_id": "p", "currency": "USD"}}),
        ("events", {**EVENT, "name": "ecommerce.OrderPlaced"}),
        ("purchases", {**PURCHASE, "quantity": 100, "price": -3}),
        ("purchases", {**PURCHASE, "product_id": "p" * 255, "currency": "JPY", "properties": None}),
    ],
)
def test_it_accepts_what_the_rules_allow(braze: Braze, array: str, item: dict[str, Any]) -> None:
    response = braze.track(**{array: [item]})
    assert (response.status, json_of(response)) == (201, {f"{array}_processed": 1, "message": "success"})


@pytest.mark.parametrize(
    ("array", "item"),
    [
        ("attributes", {"external_id": "u", "visits": {"inc": 1}}),
        ("attributes", {"external_id": "u", "colours": {"add": ["red"]}}),
        ("attributes", {"external_id": "u", "colours": {"remove": ["red"]}}),
        ("attributes", {"external_id": "u", "pets": {"$update": []}}),
        ("attributes", {"external_id": "u", "_merge_objects": True, "pets": {"a": 1}}),
        ("attributes", {"email": "a@b.co", "push_token_import": True, "push_tokens": [TOKEN]}),
        ("events", {**EVENT, "name": "ecommerce.order_placed"}),
    ],
)
def test_it_says_clearly_what_it_does_not_simulate(braze: Braze, array: str, item: dict[str, Any]) -> None:
    response = braze.track(**{array: [GOOD[array], item]})
    assert response.status == 400
    assert json_of(response)["message"].startswith("Not simulated by this sandbox: ")
    assert braze.summary["profiles"] == 0

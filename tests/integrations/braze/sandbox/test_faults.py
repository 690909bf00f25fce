"""Faults on demand, over real connections where the connection is the point."""

import socket
import time
from collections import Counter
from typing import Any

import orjson
import pytest
import requests

from integrations.braze.sandbox import SandboxServer
from integrations.braze.sandbox.messages import Request
from tests.integrations.braze.sandbox.client import TIME, Braze, json_of

HEADERS = {"Authorization": "Bearer a-test-key"}


def track(sandbox: SandboxServer, timeout: float = 5.0, **attributes: Any) -> requests.Response:
    document = {"attributes": [{"external_id": "u", "a": 1, **attributes}]}
    return requests.post(f"{sandbox.url}/users/track", json=document, headers=HEADERS, timeout=timeout)


def is_applied(sandbox: SandboxServer) -> bool:
    return sandbox.profile("u") is not None


def test_it_hits_as_many_requests_as_asked_then_stops(braze: Braze) -> None:
    braze.sandbox.faults.add(status=503, times=2, after=1, endpoint="track")
    statuses = [braze.track(attributes=[{"external_id": "u", "a": 1}]).status for _ in range(4)]
    assert statuses == [201, 503, 503, 201]
    assert braze.delete("u").status == 201


def test_it_applies_before_failing_when_asked_to(braze: Braze) -> None:
    braze.sandbox.faults.set([{"status": 504, "apply": True, "times": 1}, {"status": 502, "times": 1, "after": 1}])
    assert braze.track(attributes=[{"external_id": "u", "a": 1}]).status == 504
    assert braze.has("u")
    assert braze.track(attributes=[{"external_id": "v", "a": 1}]).status == 502
    assert not braze.has("v")


def test_it_fails_at_random_but_repeatably(braze: Braze) -> None:
    def draw() -> list[int]:
        braze.sandbox.faults.set([{"status": 500, "rate": 0.3, "seed": 7}])
        return [braze.track(attributes=[{"external_id": "u", "a": 1}]).status for _ in range(300)]

    first = draw()
    assert first == draw()
    assert 60 < Counter(first)[500] < 120


def test_it_refuses_a_batch_that_contains_the_poison(braze: Braze) -> None:
    braze.sandbox.faults.add(status=400, contains='"external_id":"bad"')
    good, bad = {"external_id": "good", "a": 1}, {"external_id": "bad", "a": 1}
    assert braze.track(attributes=[good]).status == 201
    response = braze.track(attributes=[{**good, "a": 2}, bad])
    assert (response.status, json_of(response)) == (400, {"message": "Bad Request"})
    assert braze.profile("good")["attributes"] == {"a": 1}


def test_it_fails_one_key_alone(braze: Braze) -> None:
    braze.sandbox.faults.add(status=401, key="revoked")
    document = {"attributes": [{"external_id": "u", "a": 1}]}
    revoked = braze.post("/users/track", document, authorization="Bearer revoked")
    assert (revoked.status, json_of(revoked)) == (401, {"message": "Invalid API key: revoked"})
    assert revoked.headers["X-RateLimit-Limit"] == ""
    assert braze.post("/users/track", document, authorization="Bearer other").status == 201


@pytest.mark.parametrize(("status", "is_html"), [(500, False), (502, True), (503, True), (504, True)])
def test_it_answers_html_like_a_gateway(braze: Braze, status: int, is_html: bool) -> None:
    braze.sandbox.faults.add(status=status)
    response = braze.track()
    assert (response.content_type == "text/html") is is_html
    assert response.body.startswith(b"<html>") is is_html
    braze.sandbox.faults.set([{"status": status, "html": not is_html}])
    assert braze.track().body.startswith(b"<html>") is not is_html


def test_it_swaps_two_requests_of_one_user() -> None:
    braze = Braze(journal=True)
    braze.sandbox.faults.add(reorder=5.0, times=1)
    braze.track(attributes=[{"external_id": "u", "plan": "old"}])
    assert not braze.has("u"), "accepted, but not yet in effect"
    braze.track(attributes=[{"external_id": "other", "plan": "any"}])
    assert not braze.has("u")
    braze.track(attributes=[{"external_id": "u", "plan": "new"}])
    assert braze.profile("u")["attributes"] == {"plan": "old"}
    plans = [(entry["customer"], entry["object"]["plan"]) for entry in braze.get("/control/log")]
    assert plans == [("other", "any"), ("u", "new"), ("u", "old")]


def test_it_lets_a_held_request_take_effect_by_itself(braze: Braze) -> None:
    braze.sandbox.faults.add(reorder=5.0, times=1)
    braze.track(events=[{"external_id": "u", "name": "visit", "time": TIME}])
    braze.clock.advance(5)
    assert braze.get("/control/summary")["events"] == 1


def test_it_answers_late(sandbox: SandboxServer) -> None:
    sandbox.faults.add(latency=0.2)
    started = time.monotonic()
    assert track(sandbox).status_code == 201
    assert time.monotonic() - started >= 0.2
    assert sandbox.requests()[0]["ms"] >= 200


@pytest.mark.parametrize("latency", [[0.01, 0.05], {"median": 0.02, "sigma": 0.3}])
def test_it_draws_latencies_from_a_distribution(latency: Any) -> None:
    braze = Braze(faults=[{"latency": latency, "seed": 1}])
    delays = [braze.track(attributes=[{"external_id": "u", "a": 1}]).delay for _ in range(200)]
    assert len(set(delays)) > 100
    if isinstance(latency, list):
        assert 0.01 <= min(delays) < 0.015
        assert 0.045 < max(delays) <= 0.05
    else:
        assert 0.018 < sorted(delays)[100] < 0.022


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_it_closes_the_connection(sandbox: SandboxServer, when: str, applied: bool) -> None:
    sandbox.faults.add(close=when, times=1)
    with pytest.raises(requests.ConnectionError):
        track(sandbox)
    assert is_applied(sandbox) is applied
    assert track(sandbox).status_code == 201


@pytest.mark.parametrize(("when", "applied"), [("before", False), ("after", True)])
def test_it_hangs(sandbox: SandboxServer, when: str, applied: bool) -> None:
    sandbox.faults.add(hang=when, times=1)
    with pytest.raises(requests.Timeout):
        track(sandbox, timeout=0.2)
    assert is_applied(sandbox) is applied
    assert track(sandbox).status_code == 201


def test_it_cuts_a_body_short(sandbox: SandboxServer) -> None:
    sandbox.faults.add(truncate=True, times=1)
    with pytest.raises(requests.RequestException):
        track(sandbox)
    assert is_applied(sandbox)


def test_it_drips_an_answer(sandbox: SandboxServer) -> None:
    """Every read gets something, so that a time-out per read never fires; the whole takes as long as asked for."""
    sandbox.faults.add(drip=1.5)
    started = time.monotonic()
    assert track(sandbox, timeout=0.7).status_code == 201
    assert time.monotonic() - started >= 1.2


def test_it_notices_a_user_in_two_requests_at_once(sandbox: SandboxServer) -> None:
    sandbox.faults.add(hang="after", times=1)
    body = b'{"attributes":[{"external_id":"u","a":1}]}'
    head = "POST /users/track HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as first:
        first.sendall(head.encode() + body)
        while not is_applied(sandbox):
            time.sleep(0.001)
        assert sandbox.summary()["overlaps"] == 0
        track(sandbox, external_id="other")
        assert sandbox.summary()["overlaps"] == 0
        track(sandbox)
        assert sandbox.summary()["overlaps"] == 1
    deadline = time.monotonic() + 5
    while sandbox.call(lambda: len(sandbox.sandbox.api.in_flight)) and time.monotonic() < deadline:
        time.sleep(0.001)
    track(sandbox)
    assert sandbox.summary()["overlaps"] == 1, "the first connection is gone, so its request is no longer in flight"


@pytest.mark.parametrize(
    "fault",
    [
        {"stauts": 500},
        {"status": 99},
        {"close": "sometimes"},
        {"hang": True},
        {"endpoint": "campaigns"},
        {"latency": "long"},
        {"latency": {}},
        {"latency": -1},
        {"rate": "often"},
        {"status": "500"},
        "status",
    ],
)
def test_it_says_what_is_wrong_with_a_fault(braze: Braze, fault: Any) -> None:
    assert braze.sandbox.handle(control_request("/control/faults", fault)).status == 400
    assert braze.track(attributes=[{"external_id": "u", "a": 1}]).status == 201


def test_it_sets_lists_and_clears_faults_over_http(braze: Braze) -> None:
    assert braze.sandbox.handle(control_request("/control/faults", [{"status": 500}, {"latency": 0.1}])).status == 200
    assert braze.track().status == 500
    assert [fault["hits"] for fault in braze.get("/control/faults")] == [1, 1]
    assert braze.sandbox.handle(control_request("/control/faults", {"status": 503})).status == 200
    assert [fault["status"] for fault in braze.get("/control/faults")] == [503]
    for empty in ([], {}, {"faults": []}):
        braze.sandbox.handle(control_request("/control/faults", empty))
        assert braze.get("/control/faults") == []


def control_request(path: str, document: Any) -> Request:
    return Request("POST", path, "", {}, orjson.dumps(document))

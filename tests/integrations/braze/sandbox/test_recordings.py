"""Replaying recorded Braze answers of 2021, published by open-source integrations, against a fresh sandbox.

Every request goes out in the recorded order and the answer must have the recorded status, header names and body,
field by field. What is left out, and why, is named here and nowhere else.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from integrations.braze.sandbox import Limit, SandboxServer

RECORDED = json.loads((Path(__file__).parent / "recorded_interactions.json").read_text(encoding="utf-8"))

# Given out by Braze, so only their form can be compared.
VOLATILE = {
    "created_at": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    "appboy_id": re.compile(r"[0-9a-f]{24}$"),
    "braze_id": re.compile(r"[0-9a-f]{24}$"),
    "random_bucket": re.compile(r"\d{1,4}$"),
}
# Of the headers the values are left out: dates, and limits of 2021 that have changed since.
HEADERS = {"Content-Type", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Date"}

# Answers that show users as they were before the latest writes: Braze reads late, by up to half a minute here. Each
# user in them must be as the sandbox had it after some earlier write.
LATE = {9, 18, 24, 29, 57, 64, 69, 77, 88}
# The users of this export were made before the recording began; the delete just before had not taken effect.
BEFORE_THE_RECORDING = {1}
# Read in the middle of the users' creation: some profiles are there without their attributes, others not at all.
HALF_CREATED = {84}

State = dict[str, dict[str, Any] | None]


@pytest.fixture(scope="module")
def answers() -> list[tuple[requests.Response, list[State]]]:
    """The sandbox's answer to each recorded request, and the state of every user after each write so far."""
    everyone = sorted({one for each in RECORDED for one in each["request"].get("external_ids", [])})
    replayed = []
    with SandboxServer(export_limit=Limit(2_500, 60.0)) as sandbox:
        states: list[State] = [dict.fromkeys(everyone)]
        for interaction in RECORDED:
            replayed.append((post(sandbox, interaction["path"], interaction["request"]), list(states)))
            if interaction["path"] != "/users/export/ids":
                states.append(read(sandbox, everyone))
    return replayed


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_it_answers_as_recorded(number: int, answers: list[tuple[requests.Response, list[State]]]) -> None:
    recorded, (answer, states) = RECORDED[number], answers[number]
    assert answer.status_code == recorded["status"]
    assert set(answer.headers) - {"Content-Length"} == HEADERS
    assert answer.headers["Content-Type"] == recorded["headers"]["Content-Type"]
    if number in BEFORE_THE_RECORDING:
        return
    if number in LATE:
        assert_seen_earlier(recorded["response"], states)
    elif number in HALF_CREATED:
        assert_half_created(recorded["response"], answer.json())
    else:
        assert comparable(answer.json()) == comparable(recorded["response"])


def test_it_needs_every_exclusion(answers: list[tuple[requests.Response, list[State]]]) -> None:
    """An exclusion that is no longer needed would hide a difference."""
    excluded = LATE | HALF_CREATED | BEFORE_THE_RECORDING
    same = {n for n in excluded if comparable(answers[n][0].json()) == comparable(RECORDED[n]["response"])}
    assert same == set()


def assert_seen_earlier(recorded: dict[str, Any], states: list[State]) -> None:
    seen = {user["external_id"]: comparable_user(user) for user in recorded["users"]}
    for one in [*seen, *recorded.get("invalid_user_ids", [])]:
        assert seen.get(one) in [state[one] for state in states], f"{one} was never like this"


def assert_half_created(recorded: dict[str, Any], answer: dict[str, Any]) -> None:
    ours = {user["external_id"]: comparable_user(user) for user in answer["users"]}
    for theirs in map(comparable_user, recorded["users"]):
        assert theirs.items() <= ours.pop(theirs["external_id"]).items()
    assert list(ours) == recorded["invalid_user_ids"], "those not begun yet"


def comparable(response: dict[str, Any]) -> dict[str, Any]:
    users = response.get("users")
    return response if users is None else {**response, "users": [comparable_user(user) for user in users]}


def comparable_user(user: dict[str, Any]) -> dict[str, Any]:
    for name, form in VOLATILE.items():
        assert form.match(str(user[name])), name
    return {name: value for name, value in user.items() if name not in VOLATILE}


def read(sandbox: SandboxServer, everyone: list[str]) -> State:
    state: State = dict.fromkeys(everyone)
    for start in range(0, len(everyone), 50):
        exported = post(sandbox, "/users/export/ids", {"external_ids": everyone[start : start + 50]}).json()
        state |= {user["external_id"]: comparable_user(user) for user in exported["users"]}
    return state


def post(sandbox: SandboxServer, path: str, document: Any) -> requests.Response:
    headers = {"Authorization": "Bearer a-test-key"}
    return requests.post(sandbox.url + path, json=document, headers=headers, timeout=5)

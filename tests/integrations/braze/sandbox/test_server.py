"""The server: HTTP as clients speak it, the fixture, the command, and the state file."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from integrations.braze.sandbox import SandboxServer
from tests.integrations.braze.sandbox.client import TIME

ROOT = Path(__file__).parents[4]
HEADERS = {"Authorization": "Bearer a-test-key"}
BODY = b'{"attributes":[{"external_id":"u","a":1}]}'
HEAD = b"POST /users/track HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@contextmanager
def connected(sandbox: SandboxServer) -> Iterator[socket.socket]:
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        yield connection


def read_answers(connection: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(b'"message"') < count:
        received += connection.recv(65_536)
    return received


def test_it_starts_in_under_200_ms() -> None:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        with SandboxServer() as sandbox:
            times.append(time.perf_counter() - started)
            assert requests.get(f"{sandbox.url}/control/summary", timeout=5).json()["profiles"] == 0
    assert min(times) < 0.2


def test_it_keeps_a_connection_for_many_requests(sandbox: SandboxServer) -> None:
    with connected(sandbox) as connection:
        for _ in range(3):
            connection.sendall(REQUEST)
            assert read_answers(connection, 1).startswith(b"HTTP/1.1 201 Created\r\n")


@pytest.mark.parametrize("edit", [(b"1.1\r\n", b"1.0\r\n"), (b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")])
def test_it_closes_the_connection_when_the_client_wants_that(sandbox: SandboxServer, edit: tuple[bytes, bytes]) -> None:
    with connected(sandbox) as connection:
        connection.sendall(REQUEST.replace(*edit))
        assert read_answers(connection, 1).startswith(b"HTTP/1.1 201")
        assert connection.recv(1) == b""


def test_it_answers_pipelined_requests_in_order(sandbox: SandboxServer) -> None:
    sandbox.faults.add(latency=0.05, times=1)
    with connected(sandbox) as connection:
        connection.sendall(REQUEST + REQUEST.replace(b"Bearer", b"Basic!") + REQUEST)
        answers = read_answers(connection, 3)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"201", b"401", b"201"]


def test_it_reads_a_request_that_comes_byte_by_byte(sandbox: SandboxServer) -> None:
    with connected(sandbox) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(REQUEST)):
            connection.sendall(REQUEST[position : position + 1])
        assert read_answers(connection, 1).startswith(b"HTTP/1.1 201")


def test_it_reads_a_chunked_body(sandbox: SandboxServer) -> None:
    def pieces() -> Iterator[bytes]:
        yield BODY[:10]
        yield BODY[10:]

    headers = {**HEADERS, "Content-Type": "application/json"}
    assert requests.post(f"{sandbox.url}/users/track", data=pieces(), headers=headers, timeout=5).status_code == 201


def test_it_invites_a_client_that_waits_for_100_continue(sandbox: SandboxServer) -> None:
    with connected(sandbox) as connection:
        head, body = REQUEST.split(b"\r\n\r\n")
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answers(connection, 1).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00 TLS\r\n\r\n",
        HEAD + b"Content-Length: minus one\r\n\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 70_000,
    ],
)
def test_it_refuses_what_is_no_http_and_lives_on(sandbox: SandboxServer, raw: bytes) -> None:
    with connected(sandbox) as connection:
        connection.sendall(raw)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 400")
    assert requests.get(f"{sandbox.url}/control/summary", timeout=5).status_code == 200


def test_it_names_a_port_that_is_taken(sandbox: SandboxServer) -> None:
    port = int(sandbox.url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port).start()


def test_it_answers_404_to_a_get_of_an_api_address(sandbox: SandboxServer) -> None:
    assert requests.get(f"{sandbox.url}/users/track", headers=HEADERS, timeout=5).status_code == 404


@contextmanager
def running(*arguments: str, command: tuple[str, ...] = ("-m", "integrations.braze.sandbox")) -> Iterator[Any]:
    """The sandbox as a process of its own; yields (url, process)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox listening on http://127.0.0.1:"), line
        yield line.split()[-1], process
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("command", [("-m", "integrations.braze.sandbox"), ("manage.py", "braze_sandbox")])
def test_it_runs_as_a_command_and_stops_cleanly(command: tuple[str, ...]) -> None:
    with running("--key", "one:users.track,combined", command=command) as (url, process):
        document = {"attributes": [{"external_id": "u", "a": 1}]}
        assert requests.post(f"{url}/users/track", json=document, headers=HEADERS, timeout=5).status_code == 401
        accepted = requests.post(
            f"{url}/users/track", json=document, headers={"Authorization": "Bearer one"}, timeout=5
        )
        assert accepted.status_code == 201
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


WRONG = [
    (["--key", "one:users.fly"], ""),
    (["--fault", '{"stauts": 1}'], "unknown fault setting: stauts"),
    (["--fault", "{bad"], "argument --fault: {bad is not JSON"),
    (["--fault", "[1]"], "argument --fault: [1] is not a JSON object"),
    (["--attribute-type", "a=b"], ""),
    (["--track-limit", "-1"], "argument --track-limit: expected a number from 0 up"),
    (["--track-limit", "x"], "argument --track-limit: expected a number from 0 up"),
    (["--latency", "x"], "argument --latency: expected seconds from 0 up"),
    (["--port", "99999"], "argument --port: expected a port from 0 to 65535"),
    (["--port", "x"], "argument --port: expected a port from 0 to 65535"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_it_explains_a_wrong_option(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "integrations.braze.sandbox", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=20)
    assert ended.returncode == 2
    assert f"error: {words}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_loads_neither_django_nor_the_sending_side() -> None:
    command = [sys.executable, "-c", "import sys, integrations.braze.sandbox.__main__; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=20).stdout.split()
    ours = [name for name in loaded if name.startswith("integrations.braze.")]
    assert ours
    assert all(name.startswith("integrations.braze.sandbox") for name in ours)
    assert {"django", "celery", "redis", "masivo_braze", "integrations.outbox"}.isdisjoint(loaded)


def test_it_keeps_its_state_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.json"
    sale = {"external_id": "u", "product_id": "p", "currency": "USD", "price": 0.1, "quantity": 3, "time": TIME}
    event = {"external_id": "u", "name": "visit", "time": TIME, "properties": {"event_id": "e1"}}
    person = {"external_id": "u", "email": "u@x.co", "country": "Atlantis", "points": 5}
    document = {"attributes": [person], "events": [event], "purchases": [{**sale, "properties": {"purchase_id": "p1"}}]}
    alias = {"user_alias": {"alias_name": "n", "alias_label": "l"}, "_update_existing_only": False, "a": 1}
    with running("--state", str(file)) as (url, _):
        post(url, document)
        post(url, {"attributes": [alias]})
        before = [
            requests.get(f"{url}/control/{path}", timeout=5).json() for path in ("summary", "profile?external_id=u")
        ]
    with running("--state", str(file)) as (url, _):
        after = [
            requests.get(f"{url}/control/{path}", timeout=5).json() for path in ("summary", "profile?external_id=u")
        ]
        assert after == before
        post(url, {"attributes": [{"email": "u@x.co", "b": 2}, {**alias, "a": 2}], "events": [event]})
        post(url, {"attributes": [{"external_id": "new", "a": 1}]})
        summary = requests.get(f"{url}/control/summary", timeout=5).json()
        assert (summary["profiles"], summary["duplicates"]["event_id"]) == (3, 1)
        profiles = [requests.get(f"{url}/control/profile?external_id={one}", timeout=5).json() for one in ("u", "new")]
        assert profiles[0]["attributes"]["b"] == 2
        assert profiles[0]["braze_id"] != profiles[1]["braze_id"]


def test_it_refuses_a_state_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"version": 99}')
    command = [
        sys.executable,
        "-m",
        "integrations.braze.sandbox",
        "--port",
        "0",
        "--state",
        str(tmp_path / "other.json"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=20)
    assert ended.returncode == 2
    assert "is no state file" in ended.stderr


def post(url: str, document: Any) -> None:
    assert requests.post(f"{url}/users/track", json=document, headers=HEADERS, timeout=5).status_code == 201

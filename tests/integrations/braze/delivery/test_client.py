"""What Braze is sent, and what comes back, on real sockets; what never left is told from what may have."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import pytest

from dev.waiting import wait_until
from integrations.braze.delivery import client, transport
from integrations.braze.delivery.client import NoAnswer, NotSent
from integrations.braze.models import Endpoint
from tests.integrations.braze.delivery.calling import BODY, KEY, OK, post
from tests.integrations.braze.delivery.socket_server import answering, breaking, serving

pytestmark = pytest.mark.usefixtures("fresh_client")


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("endpoint", "path"), [(Endpoint.TRACK, b"/users/track"), (Endpoint.DELETE, b"/users/delete")])
def test_it_posts_json_with_the_key_in_the_header_alone(endpoint: Endpoint, path: bytes) -> None:
    with serving(answering(OK)) as server:
        answer = client.post(server.url, endpoint, KEY, BODY)
        assert (answer.status, answer.body, answer.headers["x-ratelimit-reset"]) == (201, b'{"message":"success"}', "9")
        (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST " + path + b" HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer " + KEY.encode() in head
    assert b"\r\nContent-Type: application/json" in head
    assert body == BODY and request.count(KEY.encode()) == 1


@pytest.mark.parametrize("status", [200, 202, 400, 401, 429, 500, 502, 504])
def test_it_hands_back_whatever_braze_answers(status: int) -> None:
    with serving(breaking(b"HTTP/1.1 %d Some\r\n\r\n<html>" % status)) as server:
        answer = post(server.url)
        assert (answer.status, answer.body) == (status, b"<html>")


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Whatever"])
def test_it_waits_for_the_answer_that_follows_an_informational_one(status: bytes) -> None:
    ahead = b"HTTP/1.1 " + status + b"\r\nLink: </a>\r\n\r\n"
    with serving(answering(ahead + ahead + OK)) as server:
        assert [post(server.url).body for _ in range(2)] == [b'{"message":"success"}'] * 2
        assert (server.connections, len(server.requests)) == (1, 2)


def test_it_uses_a_connection_again() -> None:
    with serving(answering(OK)) as server:
        assert [post(server.url).status for _ in range(3)] == [201] * 3
        assert (server.connections, len(server.requests)) == (1, 3)


def test_it_notices_that_an_idle_connection_was_closed() -> None:
    with serving(breaking(OK)) as server:
        for _ in range(3):
            assert post(server.url).status == 201
            assert server.hung_up.acquire(timeout=5)


def test_it_never_sends_a_request_twice() -> None:
    with serving(breaking()) as server:
        with pytest.raises(NoAnswer):
            post(server.url)
        assert len(server.requests) == 1


def test_it_follows_no_redirect_so_that_the_key_stays_here() -> None:
    with serving(answering(OK)) as elsewhere:
        redirect = (
            f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.url}/users/track\r\nContent-Length: 0\r\n\r\n"
        )
        with serving(answering(redirect.encode())) as server:
            assert post(server.url).status == 307
        assert (elsewhere.connections, elsewhere.requests) == (0, [])


@pytest.mark.parametrize("location", [b"http://[bad/", b"/caf\xe9", b"\xff\xfe", b"//", b""])
def test_it_reads_no_address_that_it_is_redirected_to(location: bytes) -> None:
    with serving(
        answering(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 2\r\n\r\n{}")
    ) as server:
        assert (post(server.url).status, post(server.url).body) == (302, b"{}")


def test_it_keeps_no_cookies() -> None:
    cookie = OK.replace(b"X-RateLimit-Reset: 9", b"Set-Cookie: session=abc; Path=/")
    with serving(answering(cookie)) as server:
        post(server.url)
        post(server.url)
        assert not any(b"ookie" in request for request in server.requests)
    assert not list(client._session().cookies)


def test_it_sends_a_key_with_odd_letters_for_braze_to_refuse() -> None:
    with serving(answering(OK)) as server:
        assert post(server.url, key="clé–\u200b").status == 201
        assert "Bearer clé–\u200b".encode() in server.requests[0]


def test_it_sends_megabytes() -> None:
    with serving(answering(OK)) as server:
        assert post(server.url, body=b"x" * 4_000_000).status == 201
        assert len(server.requests[0]) > 4_000_000


# --- not sent --------------------------------------------------------------------------------------------


def test_it_knows_that_a_refused_connection_sent_nothing(unused_port: int) -> None:
    with pytest.raises(NotSent):
        post(f"http://127.0.0.1:{unused_port}")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid"])
def test_it_knows_that_an_unresolvable_host_was_sent_nothing(host: str) -> None:
    with pytest.raises(NotSent):
        post(f"http://{host}")


def test_it_sends_nothing_over_a_connection_that_was_made_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server may take as long as it likes, and then answer."""
    leave_by, resolve, resolved = monotonic() + 0.2, socket.getaddrinfo, []

    def resolve_late(*arguments: Any, **options: Any) -> Any:
        wait_until(lambda: monotonic() > leave_by, "the moment by which it had to leave", every=0.01)
        resolved.append(arguments)
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
    with serving(answering(OK)) as server:
        with pytest.raises(NotSent, match="TooLate"):
            client.post(server.url, Endpoint.TRACK, KEY, BODY, leave_by)
        assert resolved and server.requests == []


def test_it_sends_nothing_too_late_over_a_connection_that_it_has() -> None:
    with serving(answering(OK)) as server:
        assert client.post(server.url, Endpoint.TRACK, KEY, BODY, monotonic() + 60).status == 201
        with pytest.raises(NotSent, match="TooLate"):
            client.post(server.url, Endpoint.TRACK, KEY, BODY, monotonic() - 1)
        assert len(server.requests) == 1
        assert post(server.url).status == 201


@pytest.mark.parametrize("key", ["two\nlines", "a\r\nHost: evil"])
def test_it_sends_nothing_with_a_key_that_no_header_can_hold(key: str) -> None:
    with serving(answering(OK)) as server:
        with pytest.raises(NotSent):
            post(server.url, key=key)
        assert server.requests == []


def test_it_gives_up_connecting_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, full_backlog(full):
        started = monotonic()
        with pytest.raises(NotSent):
            post(f"http://127.0.0.1:{full.getsockname()[1]}")
        assert 0.1 < monotonic() - started < 2


@contextmanager
def full_backlog(listener: socket.socket) -> Iterator[None]:
    """Connections that nobody accepts, until the kernel answers no more."""
    waiting = [socket.socket() for _ in range(4)]
    for sock in waiting:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(listener.getsockname())
    yield
    for sock in waiting:
        sock.close()


def test_it_sends_nothing_over_a_connection_that_was_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router on the way may have forgotten it: the request would be lost or reset, and its outcome unknown."""
    now = 1_000.0
    monkeypatch.setattr(transport, "monotonic", lambda: now)
    with serving(answering(OK)) as server:
        assert (post(server.url).status, post(server.url).status, server.connections) == (201, 201, 1)
        now += transport.IDLE_SECONDS - 1
        assert (post(server.url).status, server.connections) == (201, 1)
        now += transport.IDLE_SECONDS + 1
        assert (post(server.url).status, server.connections) == (201, 2)
        assert server.hung_up.acquire(timeout=5)

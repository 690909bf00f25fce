"""What is known after each way in which HTTP can fail, on real sockets: not sent, or nobody knows."""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from dev.ports import free_port
from integrations.braze import client, transport, verdicts
from integrations.braze.client import Answer, NoAnswer, NotSent
from integrations.braze.models import Endpoint, Outcome
from tests.integrations.braze.socket_server import Conversation, Handler, answering, breaking, self_signed, serving

KEY = "0f1e2d3c-secret"
BODY = b'{"events":[]}'
OK = b'HTTP/1.1 201 Created\r\nContent-Length: 21\r\nX-RateLimit-Reset: 9\r\n\r\n{"message":"success"}'


@pytest.fixture(autouse=True)
def fresh_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No proxy of this machine's, and no connection of another test's."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    forget()
    yield
    client._session().close()
    forget()


def forget() -> None:
    client._session.cache_clear()
    client._proxies.cache_clear()


def post(url: str, body: bytes = BODY, key: str = KEY) -> Answer:
    return client.post(url, Endpoint.TRACK, key, body)


@pytest.fixture
def unused_port() -> int:
    return free_port()


# --- answers --------------------------------------------------------------------------------------------


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


# --- not sent -------------------------------------------------------------------------------------------


def test_it_knows_that_a_refused_connection_sent_nothing(unused_port: int) -> None:
    with pytest.raises(NotSent):
        post(f"http://127.0.0.1:{unused_port}")


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid"])
def test_it_knows_that_an_unresolvable_host_was_sent_nothing(host: str) -> None:
    with pytest.raises(NotSent):
        post(f"http://{host}")


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


# --- nobody knows ---------------------------------------------------------------------------------------

HALF = b'HTTP/1.1 201 Created\r\nContent-Length: 21\r\n\r\n{"message"'


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(breaking(), id="closed without an answer"),
        pytest.param(breaking(is_reset=True), id="reset after the request"),
        pytest.param(breaking(HALF), id="truncated body"),
        pytest.param(breaking(HALF, is_reset=True), id="reset within the body"),
        pytest.param(breaking(b"HTTP/1.1 20"), id="truncated status line"),
        pytest.param(
            breaking(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"), id="truncated chunk"
        ),
        pytest.param(
            breaking(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), id="no chunk at all"
        ),
        pytest.param(breaking(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), id="another protocol"),
        pytest.param(breaking(b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n"), id="too many headers"),
        pytest.param(
            breaking(b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"), id="no gzip"
        ),
    ],
)
def test_it_does_not_know_what_became_of_a_request(handler: Handler) -> None:
    with serving(handler) as server:
        with pytest.raises(NoAnswer):
            post(server.url)
        assert len(server.requests) == 1


@pytest.mark.parametrize("start", [b"HTTP/1.1 201 Cr", b"HTTP/1.1 201 Created\r\nContent-Le"])
def test_it_takes_an_answer_cut_off_in_its_headers_for_no_success(start: bytes) -> None:
    with serving(breaking(start)) as server:
        assert verdicts.of_answer(post(server.url), KEY).outcome == Outcome.UNKNOWN


def test_it_does_not_know_either_where_the_connection_broke_while_sending() -> None:
    def handle(conversation: Conversation) -> None:
        conversation.sock.recv(1_000)
        conversation.reset()

    with serving(handle) as server, pytest.raises(NoAnswer):
        post(server.url, body=b"x" * 20_000_000)


# --- time -----------------------------------------------------------------------------------------------


def silent(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.hold()


def dripping(start: bytes, piece: bytes) -> Handler:
    def handle(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.sock.sendall(start)
        conversation.drip(piece)

    return handle


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(silent, id="silence"),
        pytest.param(dripping(b"HTTP/1.1 201 Cr", b"e"), id="a dripping status line"),
        pytest.param(dripping(b"HTTP/1.1 201 Created\r\nX: ", b"y"), id="a dripping header"),
        pytest.param(dripping(b"HTTP/1.1 201 Created\r\n", b"X-Y: z\r\n"), id="dripping headers"),
        pytest.param(dripping(b"HTTP/1.1 201 Created\r\nContent-Length: 900000\r\n\r\n", b"{"), id="a dripping body"),
        pytest.param(dripping(b"HTTP/1.1 201 Created\r\n\r\n", b"{"), id="a dripping body of no known length"),
        pytest.param(
            dripping(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n"), id="dripping chunks"
        ),
    ],
)
def test_it_waits_for_an_answer_no_longer_than_its_total_time(
    monkeypatch: pytest.MonkeyPatch, handler: Handler
) -> None:
    monkeypatch.setattr(client, "TOTAL_SECONDS", 0.3)
    with serving(handler) as server:
        started = monotonic()
        with pytest.raises(NoAnswer):
            post(server.url)
        assert 0.25 < monotonic() - started < 3  # the handlers go on for ever
        assert len(server.requests) == 1


def test_it_bounds_a_second_request_on_the_same_connection_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow answer leaves the next one its full time."""
    monkeypatch.setattr(client, "TOTAL_SECONDS", 2.0)

    def handle(conversation: Conversation) -> None:
        while conversation.read_request():
            conversation.server.is_over.wait(1.1)
            conversation.sock.sendall(OK)

    with serving(handle) as server:
        assert [post(server.url).status for _ in range(2)] == [201, 201]
        assert server.connections == 1


def test_it_bounds_the_time_of_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads nothing: more is under way than the buffers of both sides can hold."""
    monkeypatch.setattr(transport, "SEND_SECONDS", 0.3)
    with serving(Conversation.hold) as server:
        started = monotonic()
        with pytest.raises(NoAnswer):
            post(server.url, body=b"x" * 30_000_000)
        assert monotonic() - started < 5


def test_it_takes_longer_than_a_connect_to_send_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)

    def handle(conversation: Conversation) -> None:
        conversation.server.is_over.wait(0.4)
        answering(OK)(conversation)

    with serving(handle) as server:
        assert post(server.url, body=b"x" * 8_000_000).status == 201


def test_it_reads_no_more_than_an_answer_of_brazes_can_be() -> None:
    huge = b"HTTP/1.1 201 Created\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 3_000_000
    with serving(answering(huge)) as server, pytest.raises(NoAnswer, match="too long"):
        post(server.url)


# --- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    return self_signed(tmp_path_factory.mktemp("tls") / "certificate.pem")


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path) -> None:
    client._session().verify = str(certificate)


@pytest.mark.usefixtures("trusted")
def test_it_speaks_tls_and_bounds_it_too(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK), tls) as server:
        assert [post(server.url).status for _ in range(2)] == [201, 201]
    monkeypatch.setattr(client, "TOTAL_SECONDS", 0.3)
    with serving(dripping(b"HTTP/1.1 201 Created\r\nX: ", b"y"), tls) as server:
        started = monotonic()
        with pytest.raises(NoAnswer):
            post(server.url)
        assert monotonic() - started < 3


def test_it_sends_nothing_to_a_host_it_does_not_trust(tls: ssl.SSLContext) -> None:
    with serving(answering(OK), tls) as server:
        with pytest.raises(NotSent):
            post(server.url)
        assert server.requests == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(Conversation.hold, id="no handshake"),
        pytest.param(lambda conversation: conversation.sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n"), id="no TLS"),
        pytest.param(lambda conversation: conversation.reset(), id="reset"),
        pytest.param(lambda conversation: None, id="closed"),
    ],
)
def test_it_knows_that_a_failed_handshake_sent_nothing(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.3)
    with serving(handler) as server, pytest.raises(NotSent):
        post(server.url.replace("http:", "https:"))


@pytest.mark.usefixtures("trusted")
def test_it_does_not_know_what_became_of_a_request_after_which_tls_broke(tls: ssl.SSLContext) -> None:
    def handle(conversation: Conversation) -> None:
        conversation.read_request()
        os.write(conversation.sock.fileno(), b"this is no TLS record")

    with serving(handle, tls) as server:
        with pytest.raises(NoAnswer):
            post(server.url)
        assert len(server.requests) == 1


# --- proxies --------------------------------------------------------------------------------------------


def test_it_uses_the_proxy_that_the_environment_named_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert post("http://braze.invalid").status == 201
        monkeypatch.delenv("HTTP_PROXY")
        assert post("http://braze.invalid").status == 201
        assert [request.split(b" ")[1] for request in proxy.requests] == [b"http://braze.invalid/users/track"] * 2


def test_it_goes_past_the_proxy_where_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(answering(OK)) as server:
        assert post(server.url).status == 201


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_knows_that_a_dead_proxy_passed_nothing_on(
    monkeypatch: pytest.MonkeyPatch, unused_port: int, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{unused_port}")
    with pytest.raises(NotSent):
        post(f"{scheme}://braze.invalid")


def test_it_knows_that_a_proxy_without_a_tunnel_passed_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(conversation: Conversation) -> None:
        conversation.sock.recv(65_536)
        conversation.sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    with serving(refuse) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(NotSent):
            post("https://braze.invalid")

"""The way to Braze: TLS and proxies. What goes wrong before the request was sent is known to have sent nothing."""

import os
import ssl
from pathlib import Path
from time import monotonic

import pytest

from integrations.braze.delivery import client
from integrations.braze.delivery.client import NoAnswer, NotSent
from tests.integrations.braze.delivery.calling import OK, dripping, post
from tests.integrations.braze.delivery.socket_server import (
    Conversation,
    Handler,
    answering,
    breaking,
    self_signed,
    serving,
)

pytestmark = pytest.mark.usefixtures("fresh_client")


# --- TLS -------------------------------------------------------------------------------------------------


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
def trusted(certificate: Path, fresh_client: None) -> None:
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


# --- proxies ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("is_reset", [False, True])
def test_it_does_not_know_what_became_of_a_request_that_a_proxy_has_taken(
    monkeypatch: pytest.MonkeyPatch, is_reset: bool
) -> None:
    with serving(breaking(is_reset=is_reset)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(NoAnswer):
            post("http://braze.invalid")
        assert len(proxy.requests) == 1


@pytest.mark.usefixtures("trusted")
def test_it_does_not_know_what_became_of_a_request_after_which_a_tunnel_broke(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext
) -> None:
    def tunnel(conversation: Conversation) -> None:
        conversation.sock.recv(65_536)
        conversation.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with tls.wrap_socket(conversation.sock, server_side=True) as secured:
            Conversation(secured, conversation.server).read_request()

    with serving(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(NoAnswer):
            post("https://127.0.0.1")
        assert len(proxy.requests) == 1

"""Where a connection breaks or drips, nobody knows what became of the request, and nobody waits for long."""

from time import monotonic

import pytest

from integrations.braze.delivery import client, transport, verdicts
from integrations.braze.delivery.client import NoAnswer
from integrations.braze.models import Outcome
from tests.integrations.braze.delivery.calling import KEY, OK, dripping, post, silent
from tests.integrations.braze.delivery.socket_server import Conversation, Handler, answering, breaking, serving

pytestmark = pytest.mark.usefixtures("fresh_client")


# --- broken off ------------------------------------------------------------------------------------------


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
        pytest.param(breaking(b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="hints, and no answer"),
        pytest.param(breaking(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), id="another protocol"),
        pytest.param(breaking(b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n"), id="too many headers"),
        pytest.param(
            breaking(b"HTTP/1.1 201 Created\r\nContent-Length: 21\r\nContent-Length: 22\r\n\r\n"), id="two lengths"
        ),
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


# --- time ------------------------------------------------------------------------------------------------


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

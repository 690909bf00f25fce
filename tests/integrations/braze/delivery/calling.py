"""What the tests of the client share: a request, its answer, and peers that keep it waiting."""

from integrations.braze.delivery import client
from integrations.braze.delivery.client import Answer
from integrations.braze.models import Endpoint
from tests.integrations.braze.delivery.socket_server import Conversation, Handler

KEY = "0f1e2d3c-secret"
BODY = b'{"events":[]}'
OK = b'HTTP/1.1 201 Created\r\nContent-Length: 21\r\nX-RateLimit-Reset: 9\r\n\r\n{"message":"success"}'


def forget() -> None:
    client._session.cache_clear()
    client._proxies.cache_clear()


def post(url: str, body: bytes = BODY, key: str = KEY) -> Answer:
    return client.post(url, Endpoint.TRACK, key, body)


def silent(conversation: Conversation) -> None:
    conversation.read_request()
    conversation.hold()


def dripping(start: bytes, piece: bytes) -> Handler:
    def handle(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.sock.sendall(start)
        conversation.drip(piece)

    return handle

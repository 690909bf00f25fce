"""A server on a real socket that answers, breaks off or drips, for tests of how HTTP fails."""

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler = Callable[["Conversation"], None]


class Conversation:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.sock, self.server = sock, server

    def read_request(self) -> bytes:
        """Headers and body, as bytes; empty where the client hung up."""
        received = b""
        while b"\r\n\r\n" not in received:
            if not (chunk := self.sock.recv(65_536)):
                return b""
            received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self.sock.recv(65_536)
        self.server.requests.append(head + b"\r\n\r\n" + body)
        return self.server.requests[-1]

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, piece: bytes) -> None:
        """A piece every 20 ms until the client gives up, or the test is over."""
        with suppress(OSError):
            while not self.server.is_over.wait(0.02):
                self.sock.sendall(piece)

    def hold(self) -> None:
        self.server.is_over.wait(10)


class Server:
    """A socket server on a free loopback port; each connection is handled in a thread of its own."""

    def __init__(self, handler: Handler, context: ssl.SSLContext | None = None) -> None:
        self.handler, self.context = handler, context
        self.requests: list[bytes] = []
        self.connections = 0
        self.is_over = threading.Event()
        self.hung_up = threading.Semaphore(0)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self._handle, args=(sock,), daemon=True).start()

    def _handle(self, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            if self.context is None:
                self.handler(Conversation(sock, self))
            else:
                with self.context.wrap_socket(sock, server_side=True) as secured:
                    self.handler(Conversation(secured, self))
        self.hung_up.release()

    def close(self) -> None:
        self.is_over.set()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.socket.close()


@contextmanager
def serving(handler: Handler, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(handler, context)
    try:
        yield server
    finally:
        server.close()


def answering(answer: bytes) -> Handler:
    """Each request on a connection gets this answer, and the connection stays open."""

    def handle(conversation: Conversation) -> None:
        while conversation.read_request():
            conversation.sock.sendall(answer)

    return handle


def breaking(answer: bytes = b"", *, is_reset: bool = False) -> Handler:
    """One request is read, this much answered, and the connection closed."""

    def handle(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.sock.sendall(answer)
        if is_reset:
            conversation.reset()

    return handle


def self_signed(path: Path) -> Path:
    """Write a certificate of 127.0.0.1 and its key to `path`."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "braze.test")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + signed.public_bytes(pem))
    return path

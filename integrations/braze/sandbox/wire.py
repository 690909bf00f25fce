"""HTTP/1.1 as bytes: request heads and chunked bodies in, responses out."""

from email.utils import formatdate
from http import HTTPStatus

from integrations.braze.sandbox.messages import Request, Response

MAX_BODY = 64 * 1024 * 1024  # far above Braze's limit: a body that is merely too large is read and gets its 413

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class BadHead(ValueError):
    """The bytes are no HTTP request this server can read; the connection cannot go on."""


def parse_head(head: bytes) -> tuple[Request, int]:
    """The request without its body, and the body's length (-1: chunked). Raises BadHead."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadHead("not an HTTP/1.1 request line")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    path, _, query = parts[1].partition("?")
    wish = headers.get("connection", "close" if parts[2] == "HTTP/1.0" else "").lower()
    return Request(parts[0], path, query, headers, b"", keep_alive=wish != "close"), _body_length(headers)


def _body_length(headers: dict[str, str]) -> int:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return -1
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_BODY:
        raise BadHead("bad content length")
    return int(text)


def parse_chunks(buffer: bytearray) -> tuple[bytes, int] | None:
    """A complete chunked body and how many bytes of `buffer` it took; None until it is complete. Raises BadHead."""
    body, at = bytearray(), 0
    while (end := buffer.find(b"\r\n", at)) >= 0:
        size = _chunk_size(bytes(buffer[at:end]))
        if len(body) + size > MAX_BODY:
            raise BadHead("body too large")
        at = end + 2 + size + 2
        if len(buffer) < at:
            return None
        if size == 0:
            return bytes(body), at
        body += buffer[end + 2 : end + 2 + size]
    return None


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise BadHead("bad chunk size") from None


def encode(response: Response) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    # Latin-1 is what HTTP/1.1 heads are made of; anything else in a configured header is replaced, not a crash.
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + response.body

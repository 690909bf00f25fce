"""HTTP/1.1 with keep-alive and pipelining over asyncio, no more of it than an API client uses."""

import asyncio
from collections.abc import Callable

from integrations.braze.sandbox.messages import Request, Response, message
from integrations.braze.sandbox.wire import BadHead, encode, parse_chunks, parse_head

MAX_HEAD = 65_536
DRIP_PIECES = 20
RECEIVE_SIZE = 65_536


class HttpProtocol(asyncio.BufferedProtocol):
    """One connection: one request at a time is handled, later ones wait in the buffer for its answer."""

    def __init__(
        self,
        handle: Callable[[Request], Response],
        connections: "set[HttpProtocol]",
        on_done: Callable[[Response], None],
    ) -> None:
        self._handle = handle
        self._on_done = on_done
        self._connections = connections
        self._received = memoryview(bytearray(RECEIVE_SIZE))
        self._buffer = bytearray()
        self._head: tuple[Request, int] | None = None
        self._is_busy = False
        self._is_last = False
        self._pending: Response | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._connections.discard(self)
        self._finish_pending()

    def get_buffer(self, size_hint: int) -> memoryview:
        return self._received

    def buffer_updated(self, count: int) -> None:
        self._buffer += self._received[:count]
        self._advance()

    def _advance(self) -> None:
        while self.transport is not None and not self._is_busy:
            try:
                request = self._take_request()
            except BadHead as error:
                self._refuse(str(error))
                return
            if request is None:
                return
            self._is_last = not request.keep_alive
            self._answer(self._handle(request))

    def _take_request(self) -> Request | None:
        """The next complete request in the buffer, or None until more bytes arrive."""
        if self._head is None:
            self._head = self._take_head()
            if self._head is None:
                return None
        request, length = self._head
        body = self._take_chunks() if length < 0 else self._take_bytes(length)
        if body is None:
            return None
        request.body = body
        self._head = None
        return request

    def _take_head(self) -> tuple[Request, int] | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadHead("head too large")
            return None
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        if head[0].headers.get("expect", "").lower() == "100-continue" and self.transport is not None:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    def _take_bytes(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        with memoryview(self._buffer) as view:
            body = bytes(view[:length])
        del self._buffer[:length]
        return body

    def _take_chunks(self) -> bytes | None:
        found = parse_chunks(self._buffer)
        if found is None:
            return None
        body, used = found
        del self._buffer[:used]
        return body

    def _answer(self, response: Response) -> None:
        if response.delay > 0 or response.drip > 0 or response.manner == "hang":
            self._is_busy = True
            self._pending = response
        if response.manner == "hang":
            return
        if response.delay > 0:
            asyncio.get_running_loop().call_later(response.delay, self._send, response)
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        if self.transport is None:
            return
        payload = encode(response)
        if response.manner == "close":
            self.transport.abort()
        elif response.manner == "truncate":
            self.transport.write(payload[: len(payload) - max(1, len(response.body) // 2)])
            self.transport.close()
        elif response.drip > 0:
            self._drip(response, payload, 0)
        else:
            self._complete(payload)

    def _drip(self, response: Response, payload: bytes, start: int) -> None:
        """Send the answer in small pieces, spread over `response.drip` seconds."""
        if self.transport is None:
            return
        end = start + max(1, len(payload) // DRIP_PIECES)
        if end >= len(payload):
            self._complete(payload[start:])
            return
        self.transport.write(payload[start:end])
        pause = response.drip / DRIP_PIECES
        asyncio.get_running_loop().call_later(pause, self._drip, response, payload, end)

    def _complete(self, payload: bytes) -> None:
        if self.transport is not None:
            self.transport.write(payload)
            if self._is_last:
                self.transport.close()
        self._finish_pending()
        if self._is_busy:
            self._is_busy = False
            self._advance()

    def _finish_pending(self) -> None:
        if self._pending is not None:
            self._on_done(self._pending)
            self._pending = None

    def _refuse(self, reason: str) -> None:
        if self.transport is not None:
            self.transport.write(encode(message(400, "Bad Request", error=reason)))
            self.transport.close()

"""`python -m benchmarks.sink --port P [--latency-ms MS]`: takes requests as Braze does, keeps nothing, and is quick.

`GET /` tells how many requests and bytes it took: `{"requests": int, "bytes": int}`.
"""

import argparse
import asyncio
import json
import re

ACCEPTED = b'{"message":"success"}'
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Sink(asyncio.Protocol):
    """One connection, any number of requests. The body is counted, not read."""

    requests = 0
    bytes = 0
    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end])
            found = LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self.received) < size:
                return
            del self.received[:size]
            self.answer(head, size)

    def answer(self, head: bytes, size: int) -> None:
        if head.startswith(b"GET"):
            self.write(b"200 OK", json.dumps({"requests": Sink.requests, "bytes": Sink.bytes}).encode())
            return
        Sink.requests += 1
        Sink.bytes += size
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self.write, b"201 Created", ACCEPTED)
        else:
            self.write(b"201 Created", ACCEPTED)

    def write(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self.transport.write(head + body)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    Sink.latency = options.latency_ms / 1000
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()

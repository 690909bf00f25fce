"""`python -m benchmarks.sandbox`: how much the sandbox takes on one core, next to what is promised; exit 1 if less.

The sandbox runs as a process of its own and has one thread. What counts is requests per second of *its* processor
time, in the best of several rounds, so that neither this client nor whatever else the machine does has much of a part
in the figure; what this machine managed in all is printed beside it.
"""

import argparse
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 8
OBJECTS = 75
ROUNDS = 20
CUSTOMERS = 20_000


@dataclass(frozen=True)
class Figure:
    requests: int
    cpu_seconds: float
    seconds: float

    def per_cpu_second(self, factor: int = 1) -> float:
        return self.requests * factor / self.cpu_seconds

    def per_second(self, factor: int = 1) -> float:
        return self.requests * factor / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="What the sandbox takes on one core.")
    parser.add_argument("--seconds", type=float, default=0.3, help=f"of each of {ROUNDS} rounds (default: 0.3)")
    seconds = parser.parse_args().seconds
    counting = measure(
        ["--no-profiles"], [encode({"events": events(75 * number, 75)}) for number in range(200)], seconds
    )
    keeping = measure([], [encode(mixed(25 * number)) for number in range(CUSTOMERS // 25)], seconds)
    enough = [
        report("counting, 75 events a request", "requests", counting, 1, 1_500),
        report("with profiles, 25 of each kind a request", "objects", keeping, OBJECTS, 20_000),
    ]
    return 0 if all(enough) else 1


def report(what: str, unit: str, figure: Figure, factor: int, promised: int) -> bool:
    reached, overall = figure.per_cpu_second(factor), figure.per_second(factor)
    verdict = "" if reached >= promised else "  TOO FEW"
    print(f"{what}: {reached:,.0f} {unit}/s on one core (promised: {promised:,}); {overall:,.0f}/s here{verdict}")
    return reached >= promised


def measure(options: list[str], requests: list[bytes], seconds: float) -> Figure:
    """Send `requests` in turn, on several connections; the best round."""
    with ExitStack() as stack:
        port, pid = stack.enter_context(running(options))
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
        rounds = [one_round(sockets, requests, seconds, pid) for _ in range(ROUNDS)]
    return max(rounds, key=Figure.per_cpu_second)


def one_round(sockets: list[socket.socket], requests: list[bytes], seconds: float, pid: int) -> Figure:
    cpu, started = cpu_seconds(pid), time.monotonic()
    count = exchange(sockets, requests, seconds)
    return Figure(count, cpu_seconds(pid) - cpu, time.monotonic() - started)


def exchange(sockets: list[socket.socket], requests: list[bytes], seconds: float) -> int:
    """How many requests were answered with 201, each connection having one under way."""
    end, sent, answered = time.monotonic() + seconds, 0, 0
    for connection in sockets:
        connection.sendall(requests[sent % len(requests)])
        sent += 1
    while answered < sent:
        for connection in select.select(sockets, [], [], 30)[0]:
            check(connection.recv(65_536))
            answered += 1
            if time.monotonic() < end:
                connection.sendall(requests[sent % len(requests)])
                sent += 1
    return answered


def check(answer: bytes) -> None:
    """An answer is far smaller than what the kernel hands over at once."""
    if not (answer.startswith(b"HTTP/1.1 201 ") and answer.endswith(b'"message":"success"}')):
        raise SystemExit(f"The sandbox answered: {answer[:300]!r}")


@contextmanager
def running(options: list[str]) -> Iterator[tuple[int, int]]:
    """A fresh sandbox without limits: its port and process id."""
    command = [sys.executable, "-m", "integrations.braze.sandbox", "--port", "0", "--track-limit", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def cpu_seconds(pid: int) -> float:
    """Of a running process, in and outside the kernel: from /proc on Linux, to the nanosecond; else from ps."""
    status = Path(f"/proc/{pid}/schedstat")
    if status.exists():
        return int(status.read_text().split()[0]) / 1e9
    text = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    minutes, _, seconds = text.strip().rpartition(":")
    return 60 * float(minutes.rpartition(":")[2] or 0) + float(seconds)


def encode(document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    head = "POST /users/track HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def events(first: int, count: int) -> list[dict[str, Any]]:
    """Events of that many customers, each at a time of its own."""
    return [event(number) for number in range(first, first + count)]


def mixed(first: int) -> dict[str, Any]:
    """25 customers, each with attributes, an event and a purchase."""
    people = range(first, first + 25)
    return {"attributes": list(map(person, people)), "events": events(first, 25), "purchases": list(map(sale, people))}


def event(number: int) -> dict[str, Any]:
    properties = {"store": "Bogotá 12", "order_value": 12.5, "first_visit": False, "event_id": f"e-{number}"}
    return {"external_id": f"c-{number}", "name": "VISIT", "time": moment(number), "properties": properties}


def person(number: int) -> dict[str, Any]:
    return {"external_id": f"c-{number}", "first_name": "Ana", "email": f"c{number}@example.com", "tag_vip": True}


def sale(number: int) -> dict[str, Any]:
    properties = {"order_id": f"o-{number}", "line": 1, "purchase_id": f"o-{number}:1:1"}
    money = {"product_id": "CD", "currency": "USD", "price": 14.66, "quantity": 2}
    return {"external_id": f"c-{number}", **money, "time": moment(number), "properties": properties}


def moment(number: int) -> str:
    return (
        f"2026-10-{number // 86_400 % 28 + 1:02}T{number // 3_600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
    )


if __name__ == "__main__":
    sys.exit(main())

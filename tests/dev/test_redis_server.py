"""The embedded Redis: found by its recorded port, started once, gone when stopped."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.processes import spawn, stop
from dev.redis_server import answers_ping, recorded_port, reserve_port
from dev.waiting import wait_until

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `python -m dev.redis_server` for `tmp_path`."""
    started = []

    def run(**env: str) -> "subprocess.Popen[bytes]":
        without = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        full = {**without, "VAR_DIR": str(tmp_path), **env}
        started.append(spawn([sys.executable, "-m", "dev.redis_server"], full, subprocess.PIPE))
        return started[-1]

    yield run
    stop(started)


def is_up(var_dir: Path) -> bool:
    port = recorded_port(var_dir)
    return port is not None and answers_ping(port)


def test_it_serves_at_the_port_it_recorded_and_ends_with_its_process(start: Start, tmp_path: Path) -> None:
    server = start()
    wait_until(lambda: is_up(tmp_path), "Redis")
    server.send_signal(signal.SIGTERM)
    assert server.wait(5) == 0
    assert not is_up(tmp_path)


def test_it_comes_back_at_the_same_port_with_its_data(start: Start, tmp_path: Path) -> None:
    first = start()
    wait_until(lambda: is_up(tmp_path), "Redis")
    port = recorded_port(tmp_path)
    assert ask(port, "SET key kept") == "+OK"
    stop([first])
    start()
    wait_until(lambda: is_up(tmp_path), "Redis")
    assert recorded_port(tmp_path) == port
    assert "kept" in ask(port, "GET key")


def test_it_names_the_conflict_when_it_is_already_running(start: Start, tmp_path: Path) -> None:
    start()
    wait_until(lambda: is_up(tmp_path), "Redis")
    port = recorded_port(tmp_path)
    second = start()
    output, _ = second.communicate(timeout=10)
    assert second.returncode == 1
    assert f"already running on 127.0.0.1:{port}".encode() in output
    assert is_up(tmp_path)


def test_it_moves_when_another_program_has_its_port(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (tmp_path / "redis.port").write_text(str(taken))
        port = reserve_port(tmp_path)
    assert port != taken
    assert recorded_port(tmp_path) == port


def test_it_starts_nothing_where_redis_url_is_set(start: Start, tmp_path: Path) -> None:
    process = start(REDIS_URL="redis://elsewhere/0")
    assert process.stdout is not None
    assert b"no embedded Redis to start" in process.stdout.readline()
    assert process.poll() is None
    assert list(tmp_path.iterdir()) == []


def ask(port: int | None, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port or 0), timeout=2) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(4096).decode().strip()

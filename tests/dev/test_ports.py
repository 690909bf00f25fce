"""Ports for servers that are started a moment later: nobody else may have them by then."""

import subprocess
import sys
from pathlib import Path

import pytest

from dev import ports
from dev.processes import ROOT

ASK = "from dev import ports; ports.CANDIDATES = {candidates}; print(ports.free_port(), flush=True); input()"


@pytest.mark.skipif(sys.platform != "linux", reason="the range is read from /proc")
def test_it_keeps_off_the_ports_that_the_kernel_gives_to_outgoing_connections() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not set(range(first, last + 1)) & {ports.free_port() for _ in range(50)}


def test_it_gives_no_port_twice_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = ports.free_port(), ports.free_port()
    assert one != two
    monkeypatch.setattr(ports, "CANDIDATES", [one, two])
    with pytest.raises(ports.NoneFree):
        ports.free_port()


def test_it_is_not_given_what_another_process_was_given_and_does_not_listen_on_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    candidates = list(range(19_900, 19_920))
    other = subprocess.Popen(
        [sys.executable, "-c", ASK.format(candidates=candidates)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout
    given = int(other.stdout.readline())
    monkeypatch.setattr(ports, "CANDIDATES", [given])
    with pytest.raises(ports.NoneFree):
        ports.free_port()
    other.communicate(b"\n")
    assert ports.free_port() == given

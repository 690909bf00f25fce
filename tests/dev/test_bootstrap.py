"""What `make` says when a machine lacks something."""

import importlib.util
import platform
import subprocess
from pathlib import Path

import pytest

from dev import bootstrap


def pretend(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str = "") -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))


@pytest.mark.parametrize(
    ("system", "machine", "libc"),
    [("Linux", "x86_64", "glibc"), ("Linux", "aarch64", "glibc"), ("Darwin", "arm64", "")],
)
def test_it_accepts_platforms_that_the_embedded_redis_is_built_for(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str
) -> None:
    pretend(monkeypatch, system, machine, libc)
    assert bootstrap.missing_wheel() is None


@pytest.mark.parametrize(
    ("system", "machine", "libc"), [("Darwin", "x86_64", ""), ("Linux", "x86_64", ""), ("Windows", "AMD64", "")]
)
def test_it_names_the_platforms_where_this_one_has_no_embedded_redis(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str
) -> None:
    pretend(monkeypatch, system, machine, libc)
    assert f"not on {system} {machine}" in (bootstrap.missing_wheel() or "")


def test_it_names_the_package_that_a_debian_python_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    assert "apt-get install python3." in (bootstrap.missing_venv() or "")


def test_it_installs_again_when_a_requirement_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("one==1")
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", [requirements])
    before = bootstrap.fingerprint()
    assert bootstrap.fingerprint() == before
    requirements.write_text("one==2")
    assert bootstrap.fingerprint() != before


def test_it_says_how_to_name_an_index_when_pip_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], returncode=1))
    with pytest.raises(SystemExit, match="PIP_INDEX_URL="):
        bootstrap.install()

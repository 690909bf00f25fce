"""`make run`: up with sample data, a login and a sandbox; conflicts named; nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from dev.environment import inherited
from dev.ports import answers, free_port
from dev.processes import ROOT, stop
from dev.sandbox import Sandbox
from dev.stack import WORKERS, Stack
from dev.waiting import TimedOut, wait_until
from tests.e2e.admin import Admin
from tests.e2e.conftest import fresh_database
from tests.e2e.leftovers import commands_of, processes_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """As a developer's shell has it, but for a directory and ports of its own; the same in all tests, so that the
    sample data is loaded once."""
    of_the_session = ("REDIS_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    env = {name: value for name, value in inherited().items() if name not in of_the_session}
    env |= {"PORT": str(free_port()), "SANDBOX_PORT": str(free_port())}
    env["VAR_DIR"] = str(tmp_path_factory.mktemp("run") / "var")
    with fresh_database() as url:
        yield {**env, "DATABASE_URL": url} if url else env


@pytest.fixture(scope="module")
def started(env: dict[str, str]) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Each `make run` there was, the last one perhaps still up."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    stop(processes, grace=15)


@pytest.fixture
def run(
    started: "list[subprocess.Popen[bytes]]", env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[subprocess.Popen[bytes]]":
    """`make run` with its banner printed: that of the test before, if it is still up, as it takes long to start."""
    log = tmp_path_factory.getbasetemp() / "run.log"
    if not started or started[-1].poll() is not None:
        with log.open("wb") as output:
            started.append(start(env, output))
    process = started[-1]
    try:
        wait_until(lambda: b"Ctrl-C stops everything" in log.read_bytes() or process.poll(), "`make run`", timeout=90)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        print(log.read_text())  # shown where the test has failed


def start(env: dict[str, str], output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "dev.run"],
        cwd=ROOT,
        env=env,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def test_it_serves_the_admin_and_syncs_the_sample_shop(run: object, env: dict[str, str]) -> None:
    admin = Admin(f"http://127.0.0.1:{env['PORT']}", "admin", "admin-password")
    assert "Demo shop" in admin.get("/admin/loyalty/account/").text
    style = admin.get("/static/admin/css/base.css")
    assert (style.status_code, style.headers["Content-Type"]) == (200, 'text/css; charset="utf-8"')
    sandbox = Sandbox(f"http://127.0.0.1:{env['SANDBOX_PORT']}")
    wait_until(lambda: sandbox.summary()["revenue"].get("USD") == "244091.94", "the sample's revenue", timeout=90)


def test_it_is_found_by_a_shell_beside_it(run: object, env: dict[str, str]) -> None:
    of_the_run = ("PORT", "SANDBOX_PORT", "BRAZE_EXTRA_ENDPOINTS")
    shell = {name: value for name, value in env.items() if name not in of_the_run}
    command = [sys.executable, "manage.py", "braze_status", "--json"]
    answer = subprocess.run(command, cwd=ROOT, env=shell, capture_output=True, text=True, check=True)
    assert [account["state"] for account in json.loads(answer.stdout)["accounts"]] == ["healthy"]


def test_it_names_a_second_one_and_leaves_the_first_alone(run: object, env: dict[str, str]) -> None:
    same = start(env, subprocess.PIPE)
    assert b"Redis is already running" in same.communicate(timeout=20)[0]
    assert same.returncode == 1
    elsewhere = start({**env, "VAR_DIR": f"{env['VAR_DIR']}-2"}, subprocess.PIPE)
    output = elsewhere.communicate(timeout=20)[0].decode()
    assert elsewhere.returncode == 1
    assert f"Port {env['PORT']} is in use" in output
    assert "make run PORT=" in output
    assert answers(int(env["PORT"]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_everything_within_ten_seconds(
    run: "subprocess.Popen[bytes]", env: dict[str, str], number: signal.Signals
) -> None:
    var_dir = Path(env["VAR_DIR"])
    everything = {"valkey", "sandbox", "gunicorn", "-Q relay", "-Q flush", "masivo_braze beat"}
    running = " ".join(processes_of(var_dir))
    assert {name for name in everything if name not in running} == set()
    run.send_signal(number)
    assert run.wait(10) == 0
    assert processes_of(var_dir) == []
    assert not answers(int(env["PORT"]))


def test_it_leaves_nothing_behind_when_it_is_killed(run: "subprocess.Popen[bytes]", env: dict[str, str]) -> None:
    """Not even a web worker that hears nothing, as one does that has just been started."""
    commands = commands_of(Path(env["VAR_DIR"]))
    os.kill(max(pid for pid, command in commands.items() if "gunicorn" in command), signal.SIGSTOP)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    with suppress(TimedOut):
        wait_until(lambda: not processes_of(Path(env["VAR_DIR"])), "the end of all processes", timeout=30)
    assert processes_of(Path(env["VAR_DIR"])) == []  # else it says which of them are left


def test_a_stack_leaves_nothing_behind(stack: Stack) -> None:
    stack.start(*WORKERS, "web")
    wait_until(lambda: answers(stack.web_port), "the web process")
    assert len(processes_of(stack.directory)) >= len(("redis", "sandbox", "web", *WORKERS))
    stack.stop_all()
    assert processes_of(stack.directory) == []

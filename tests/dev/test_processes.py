"""Processes are started from the Procfile and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from dev.processes import ROOT, kill, read_procfile, spawn, stop
from dev.stack import WORKERS
from dev.waiting import TimedOut, wait_until


def is_alive(pid: int) -> bool:
    """Whether it runs: a zombie that nobody has reaped yet does not."""
    status = Path(f"/proc/{pid}/stat")
    if status.exists():
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0


def spawn_with_child() -> "tuple[subprocess.Popen[bytes], int]":
    """A process that ignores nothing, and its child that ignores SIGTERM; and the child's pid."""
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    parent = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); p.wait()"
    )
    process = spawn([sys.executable, "-c", parent], os.environ, subprocess.PIPE)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_it_stops_children_that_ignore_being_asked() -> None:
    process, child = spawn_with_child()
    assert is_alive(child)
    stop([process], grace=5)
    assert process.returncode == -15
    wait_until(lambda: not is_alive(child), "the child's end", timeout=5)


def test_it_kills_a_process_with_its_children() -> None:
    process, child = spawn_with_child()
    kill(process)
    assert process.returncode == -9
    wait_until(lambda: not is_alive(child), "the child's end", timeout=5)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death on Linux alone")
def test_it_ends_with_the_process_that_started_it() -> None:
    code = (
        "import os, subprocess, time; from dev.processes import spawn;"
        "print(spawn('sleep 60', os.environ, subprocess.DEVNULL).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(child), "the child's end", timeout=5)


def test_it_runs_shell_lines_with_their_defaults() -> None:
    process = spawn("echo ${SURELY_NOT_SET:-the default}", os.environ, subprocess.PIPE)
    assert process.communicate()[0] == b"the default\n"


def test_it_says_what_it_waited_for_in_vain() -> None:
    with pytest.raises(TimedOut, match="a miracle"):
        wait_until(lambda: False, "a miracle", timeout=0.1)


def test_it_runs_the_same_processes_in_development_as_in_production() -> None:
    production = read_procfile(ROOT / "Procfile")
    development = read_procfile(ROOT / "Procfile.dev")
    assert set(production) == {"release", "web", *WORKERS}
    assert set(development) == {"web", *WORKERS, "redis", "sandbox"}
    assert {name: production[name] for name in ("web", *WORKERS)}.items() <= development.items()


def served_by() -> dict[str, str]:
    """By queue, the process of the Procfile that takes its tasks."""
    lines = read_procfile(ROOT / "Procfile").items()
    queues = {name: line.split(" -Q ")[1].split()[0].split(",") for name, line in lines if " -Q " in line}
    return {queue: name for name, its in queues.items() for queue in its}


def test_it_has_a_worker_for_every_queue() -> None:
    assert {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()} <= served_by().keys()


def test_what_one_account_does_to_its_worker_reaches_no_other_kind_of_work() -> None:
    """Relays, senders, senders of backlogs and those of accounts that fail: each with processes of their own."""
    tasks = ("relay", "flush", "flush_account", "flush_backlog", "probe_account")
    queues = [settings.CELERY_TASK_ROUTES[f"integrations.braze.tasks.{task}"]["queue"] for task in tasks]
    assert [served_by()[queue] for queue in queues] == ["worker", "flush", "flush", "backlog", "probation"]

"""`make run`: everything of Procfile.dev with sample data, until Ctrl-C."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from dev.environment import inherited
from dev.ports import answers, is_free, serves
from dev.processes import ROOT, read_procfile, spawn, stop
from dev.redis_server import AlreadyRunning, answers_ping, reserve_port
from dev.waiting import TimedOut, wait_until
from manage import print_whatever_the_encoding

#: What the others need, so it starts first and stops last.
FOUNDATIONS = ("redis", "sandbox")
WEB_PORT, SANDBOX_PORT = 8000, 8010
LOGIN_PAGE = "/admin/login/"
#: A web worker that is asked to end while it starts does not hear it: it is not waited for as long as in production.
DEFAULTS = {"DJANGO_SETTINGS_MODULE": "settings.local", "WEB_HOST": "127.0.0.1", "WEB_GRACEFUL_SECONDS": "4"}
#: For the last lines of a process that has ended; a pipe holds little.
COPY_SECONDS = 0.5

BANNER = """
  Admin    http://127.0.0.1:{web}/admin/   login: admin   password: admin-password
  Sandbox  http://127.0.0.1:{sandbox}/   what Braze would hold, live
  Ctrl-C stops everything.
"""


def main() -> int:
    print_whatever_the_encoding()
    # SIGINT too: a shell's background job starts with it ignored.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        env = environment()
    except (PortTaken, AlreadyRunning) as error:
        print(error, file=sys.stderr)
        return 1
    run = Run(env)
    try:
        return run.until_interrupted()
    except KeyboardInterrupt:
        return 0
    except (Failed, TimedOut) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    finally:
        run.stop()


class PortTaken(Exception):
    """A port that is needed is in use."""


class Failed(Exception):
    """A process that should have stayed up ended, or a step failed."""


def environment() -> dict[str, str]:
    """The environment of all processes. Its ports are free, and recorded under `var/` for a shell opened beside."""
    env = DEFAULTS | inherited()
    web = _port(env, "PORT", WEB_PORT)
    sandbox = _port(env, "SANDBOX_PORT", SANDBOX_PORT)
    var_dir = Path(env.get("VAR_DIR") or ROOT / "var").resolve()
    if not env.get("REDIS_URL"):
        reserve_port(var_dir)
    for name, port in (("PORT", web), ("SANDBOX_PORT", sandbox)):
        if not is_free(port):
            raise PortTaken(
                f"Port {port} is in use, perhaps by another `make run`. Choose another one: make run {name}=…"
            )
    var_dir.mkdir(parents=True, exist_ok=True)
    (var_dir / "sandbox.port").write_text(f"{sandbox}\n")  # a shell beside it then knows the sandbox's address, too
    endpoints = [url for url in (env.get("BRAZE_EXTRA_ENDPOINTS"), f"http://127.0.0.1:{sandbox}") if url]
    chosen = {"PORT": str(web), "SANDBOX_PORT": str(sandbox), "VAR_DIR": str(var_dir)}
    return env | chosen | {"BRAZE_EXTRA_ENDPOINTS": ",".join(endpoints)}


class Run:
    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._commands = read_procfile(ROOT / "Procfile.dev")
        self._width = max(len(name) for name in self._commands)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._copiers: list[threading.Thread] = []
        # `SimpleQueue`, because a signal may interrupt it anywhere.
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def until_interrupted(self) -> int:
        for name in FOUNDATIONS:
            self._start(name)
        self._wait(self._redis_answers, "Redis")
        self._step("python", "manage.py", "migrate", "--verbosity", "0")
        self._step("python", "-m", "dev.first_run")
        for name in self._commands:
            if name not in FOUNDATIONS:
                self._start(name)
        web, sandbox = int(self._env["PORT"]), int(self._env["SANDBOX_PORT"])
        self._wait(lambda: serves(web, LOGIN_PAGE), "the admin")
        self._wait(lambda: answers(sandbox), "the sandbox")
        print(BANNER.format(web=web, sandbox=sandbox), flush=True)
        ended = self._ended.get()
        raise Failed(f"{ended} ended; its last lines above say why. Stopping the others.")

    def stop(self) -> None:
        """Within 10 s, the workers first; a second Ctrl-C changes nothing. All they have said is printed by then."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        foundations = [self._processes.pop(name) for name in FOUNDATIONS if name in self._processes]
        stop(self._processes.values(), grace=6)
        stop(foundations, grace=3)
        # A thread that still writes when the interpreter ends brings it down with a fatal error.
        for copier in self._copiers:
            copier.join(COPY_SECONDS)

    def _start(self, name: str) -> None:
        process = spawn(self._commands[name], self._env, subprocess.PIPE)
        self._processes[name] = process
        copier = threading.Thread(target=self._copy_output, args=(name, process), daemon=True)
        copier.start()
        self._copiers.append(copier)

    def _copy_output(self, name: str, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            sys.stdout.write(f"{name:<{self._width}} | {line.decode(errors='replace')}")
            sys.stdout.flush()
        self._ended.put(name)

    def _step(self, *command: str) -> None:
        """Run a command that has to succeed before the rest starts."""
        process = spawn(["/usr/bin/env", *command], self._env, subprocess.PIPE)
        self._processes[" ".join(command)] = process
        for line in process.stdout or ():
            print(line.decode(errors="replace"), end="", flush=True)
        if process.wait():
            raise Failed(f"`{' '.join(command)}` failed.")

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        def ended_or_ready() -> object:
            with contextlib.suppress(queue.Empty):
                raise Failed(f"{self._ended.get_nowait()} ended; its last lines above say why.")
            return condition()

        wait_until(ended_or_ready, what, timeout=60)

    def _redis_answers(self) -> bool:
        if self._env.get("REDIS_URL"):
            return True  # not ours: the workers wait for it by themselves
        return answers_ping(int((Path(self._env["VAR_DIR"]) / "redis.port").read_text()))


def _port(env: dict[str, str], name: str, default: int) -> int:
    try:
        return int(env.get(name) or default)
    except ValueError:
        raise PortTaken(f"{name}={env[name]} is not a port number.") from None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())

"""The product running for a while: Redis, the sandbox and the Procfile's own processes, all in one directory."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from dev import sandbox
from dev.environment import isolated
from dev.ports import answers, free_port, serves
from dev.processes import ROOT, kill, read_procfile, spawn, stop
from dev.redis_server import answers_ping, server_command
from dev.waiting import wait_until

#: What a sync needs running, beside Redis and the sandbox.
WORKERS = ("worker", "flush", "backlog", "probation", "beat")


class Stack:
    """Redis and the sandbox are up inside the `with`; the rest is started and stopped by name.

    Each process writes to `<directory>/<name>.log`. Leaving the `with` stops whatever still runs.
    """

    def __init__(self, directory: Path, database_url: str | None = None) -> None:
        self.directory = directory
        self.redis_port = free_port()
        self.web_port = free_port()
        self.sandbox_port = free_port()
        self.sandbox = sandbox.Sandbox(f"http://127.0.0.1:{self.sandbox_port}")
        self.env = isolated(directory, database_url, self.redis_port, self.sandbox.url)
        self.env |= {"PORT": str(self.web_port), "WEB_HOST": "127.0.0.1", "WEB_GRACEFUL_SECONDS": "4"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start_redis()
            self.start_sandbox()
        except BaseException:
            self.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start_redis(self) -> None:
        self._spawn("redis", server_command(self.redis_port, self.directory / "redis"))
        wait_until(lambda: answers_ping(self.redis_port), "Redis")

    def start_sandbox(self) -> None:
        command = [sys.executable, "-m", "integrations.braze.sandbox", "--port", str(self.sandbox_port)]
        self._spawn("sandbox", command)
        wait_until(lambda: answers(self.sandbox_port), "the sandbox")

    def start(self, *names: str) -> None:
        """Start processes of the Procfile, by its own command lines."""
        commands = read_procfile(ROOT / "Procfile")
        for name in names:
            self._spawn(name, commands[name])

    def start_web(self) -> str:
        """The running admin's base URL."""
        self.start("web")
        wait_until(lambda: serves(self.web_port, "/admin/login/"), "the web process")
        return f"http://127.0.0.1:{self.web_port}"

    def stop(self, *names: str) -> None:
        stop(self.processes.pop(name) for name in names)

    def stop_all(self) -> None:
        """Stop the workers before what they depend on, so that they can finish what they are doing."""
        self.stop(*(name for name in list(self.processes) if name not in ("redis", "sandbox")))
        self.stop(*list(self.processes))

    def kill(self, *names: str) -> None:
        """SIGKILL, with all their children: nothing is finished or given back."""
        for name in names:
            os.killpg(self.processes[name].pid, signal.SIGKILL)
        for name in names:
            kill(self.processes.pop(name))

    def freeze(self, name: str) -> None:
        """SIGSTOP: connections are accepted by the kernel, nothing is ever answered."""
        os.killpg(self.processes[name].pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        os.killpg(self.processes[name].pid, signal.SIGCONT)

    def manage(self, *arguments: str) -> str:
        """A management command's standard output."""
        return self.run(sys.executable, "manage.py", *arguments)

    def run(self, *command: str) -> str:
        """A command in the stack's environment; its standard output."""
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def logs(self, lines: int = 15) -> str:
        """The end of each process' log."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {path.name}", *tail]))
        return "\n".join(parts)

    def _spawn(self, name: str, command: str | list[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = spawn(command, self.env, log)

"""A process of its own that changes loyalty records when told to, and says how long that took."""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dev.processes import ROOT, stop
from dev.stack import Stack


class Shop:
    """Talks to `python -m tests.e2e.shop_process`, one JSON line each way."""

    def __init__(self, stack: Stack) -> None:
        self._log = (stack.directory / "shop.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.shop_process"],
            cwd=ROOT,
            env=stack.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        self.ask("create_account", endpoint=stack.sandbox.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop([self._process])
        self._log.close()

    def save_customers(self, number: int, prefix: str) -> float:
        """Save that many new customers, one transaction each; the seconds it took."""
        seconds: float = self.ask("save_customers", number=number, prefix=prefix)
        return seconds

    def save_event(self, customer: str) -> str:
        """Save an event of a customer; its id."""
        event: str = self.ask("save_event", customer=customer)
        return event

    def status(self) -> dict[str, Any]:
        """The account's line of `braze_status --json`."""
        line: dict[str, Any] = self.ask("status")
        return line

    def accounting(self) -> list[str]:
        """What does not balance."""
        wrong: list[str] = self.ask("accounting")
        return wrong

    def ask(self, action: str, **arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([action, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the shop ended:\n{Path(self._log.name).read_text()}"
        return json.loads(answer)

"""Running a sandbox: in this thread for the command, in a daemon thread for tests."""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from integrations.braze.sandbox.app import Sandbox
from integrations.braze.sandbox.control import profile_document, summary
from integrations.braze.sandbox.faults import Faults
from integrations.braze.sandbox.options import Options
from integrations.braze.sandbox.protocol import HttpProtocol
from integrations.braze.sandbox.storage import Storage
from integrations.braze.sandbox.workspace import Workspace

SAVE_EVERY = 5.0
Result = TypeVar("Result")


async def listen(sandbox: Sandbox, connections: set[HttpProtocol]) -> asyncio.Server:
    def connect() -> HttpProtocol:
        return HttpProtocol(sandbox.handle, connections, lambda response: sandbox.api.in_flight.end(response))

    options = sandbox.options
    return await asyncio.get_running_loop().create_server(connect, options.host, options.port, backlog=1024)


def address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(options: Options, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` gets the address once it listens."""
    sandbox = Sandbox(options)
    storage = Storage(options.state_file) if options.state_file else None
    if storage:
        storage.load(sandbox.workspace)
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    connections: set[HttpProtocol] = set()
    server = await listen(sandbox, connections)
    announce(address(server))
    await _until(stop, sandbox, storage)
    server.close()
    if storage:
        storage.save(sandbox.workspace)


async def _until(stop: asyncio.Event, sandbox: Sandbox, storage: Storage | None) -> None:
    """Wait for `stop`, saving the state now and then: a killed sandbox loses at most a few seconds of it."""
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), SAVE_EVERY)
        except TimeoutError:
            sandbox.workspace.advance(sandbox.api.clock())
            if storage:
                storage.save_if_changed(sandbox.workspace)


class SandboxServer:
    """A sandbox in a daemon thread of this process, for tests:

        with SandboxServer(contract="combined") as sandbox:
            requests.post(sandbox.url + "/users/track", …)
            sandbox.faults.add(status=503, times=2)
            assert sandbox.summary()["events"] == 1

    Keyword arguments are those of `Options`. The port is free and chosen on start.
    """

    def __init__(self, options: Options | None = None, **settings: Any) -> None:
        self.sandbox = Sandbox(options or Options(**settings))
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._connections: set[HttpProtocol] = set()
        self._is_listening = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="braze-sandbox", daemon=True)

    @property
    def faults(self) -> Faults:
        return self.sandbox.faults

    @property
    def state(self) -> Workspace:
        """The workspace itself; read it through `call` while requests may be running."""
        return self.sandbox.workspace

    def call(self, function: Callable[[], Result]) -> Result:
        """Run `function` in the server's thread, between two requests, and return what it returns."""

        async def run() -> Result:
            self.state.advance(self.sandbox.api.clock())
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=30)

    def summary(self) -> dict[str, Any]:
        return self.call(lambda: summary(self.state))

    def profile(self, external_id: str) -> dict[str, Any] | None:
        """As GET /control/profile; None when there is none."""
        return self.call(lambda: self._profile(external_id))

    def requests(self, limit: int = 1_000) -> list[dict[str, Any]]:
        """The request log with bodies, newest first."""
        return self.call(lambda: [entry.document(True) for entry in self.sandbox.api.log.newest(limit)])

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """As GET /control/log; empty unless started with journal=True."""
        return self.call(lambda: self.state.journal.after(after, 10_000_000))

    def reset(self) -> None:
        self.call(self.sandbox.reset)

    def start(self) -> Self:
        self._thread.start()
        self._is_listening.wait(10)
        if self._failure:
            raise self._failure
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _profile(self, external_id: str) -> dict[str, Any] | None:
        profile = self.state.profiles.by_external_id.get(external_id)
        return profile_document(profile) if profile else None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(listen(self.sandbox, self._connections))
            self.url = address(server)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._is_listening.set()
        self._loop.run_forever()
        self._close(server)

    def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()
        # One more turn, so that the aborted connections are closed before the loop is.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

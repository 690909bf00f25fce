"""The connections beneath the client: bounded in total time, and clear about whether anything was sent.

The standard library's time-outs start again with each byte, so an answer that drips, in its body or its headers, could
take for ever. Here an answer gets only the time that is left once its request is out. And a failure before the request
itself (name look-up, proxy, TLS) raises a different error from any later one.
"""

import io
from http.client import CONTINUE, HTTPException, HTTPResponse
from math import inf
from socket import socket
from time import monotonic
from typing import Any, Self

from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

#: For writing the whole request; a body can have megabytes.
SEND_SECONDS: float = min(15.0, settings.BRAZE_READ_TIMEOUT_SECONDS)

#: A connection that was idle for longer is not used again. Routers and balancers forget idle connections, some after a
#: minute, and tell neither side: a request over one that was forgotten is lost or reset, and its outcome unknown.
IDLE_SECONDS = 30.0


class TooLate(NewConnectionError):
    """There is a connection, but too late: nothing was sent."""


class DatedBody(bytes):
    """A request's body that must leave by `leave_by`, on `time.monotonic`. It is all that urllib3 hands down to us."""

    leave_by: float

    def __new__(cls, body: bytes, leave_by: float) -> Self:
        dated = super().__new__(cls, body)
        dated.leave_by = leave_by
        return dated


class BoundedAdapter(HTTPAdapter):
    """An adapter of `requests` over these connections. To be used with urllib3's `Timeout(connect=…, total=…)`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket whose time-out, as set when this is made, bounds all reads together."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        self._raw, self._sock = raw, sock
        time_left = sock.gettimeout()
        self._deadline = None if time_left is None else monotonic() + time_left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline is not None:
            time_left = self._deadline - monotonic()
            if time_left <= 0:
                raise TimeoutError("the answer was not complete in time")
            self._sock.settimeout(time_left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """An answer in bounded time: the final one, whatever comes ahead of it."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))

    def _read_status(self) -> tuple[str, int, str]:
        """The next status line, with 100 for each informational status (1xx).

        The standard library skips 100 and takes any other, such as 103 Early Hints, for the answer itself: a request
        that Braze accepts right after that would count as refused.
        """
        version, status, reason = super()._read_status()  # type: ignore[misc]  # the stubs do not know it
        return version, CONTINUE if 100 <= status < 200 else status, reason


class _PlainConnection(HTTPConnection):
    """One request and its answer at a time."""

    response_class = _BoundedResponse
    used_at = inf

    def connect(self) -> None:
        """Raises `NewConnectionError`, and nothing else, if no connection can be made."""
        try:
            super().connect()
        except NewConnectionError:
            raise
        except (OSError, ValueError, HTTPError, HTTPException) as error:
            raise NewConnectionError(self, f"{type(error).__name__}: {error}") from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Raises `TooLate` if the connection has taken so long that a `DatedBody` must not leave any more."""
        if self.is_closed:
            self.connect()
        body = kwargs.get("body")
        if isinstance(body, DatedBody) and monotonic() > body.leave_by:
            raise TooLate(self, "the connection was made too late")
        self.timeout = SEND_SECONDS
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        """Raises a time-out or `ProtocolError`, and nothing else: what fails by now says nothing about the request.

        urllib3 has errors of its own for an answer's headers, and takes a connection that breaks for a dead proxy.
        """
        try:
            return super().getresponse()
        except TimeoutError:
            raise
        except (OSError, ValueError, HTTPError, HTTPException) as error:
            raise ProtocolError(f"{type(error).__name__}: {error}", error) from error


class _TLSConnection(_PlainConnection, HTTPSConnection):
    """The same over TLS: `super()` above is `HTTPSConnection` here."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        """Closed if it was idle for long: urllib3 then connects anew, through a proxy's tunnel, too."""
        connection: Any = super()._get_conn(timeout)
        if monotonic() - connection.used_at > IDLE_SECONDS:
            connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn:
            conn.used_at = monotonic()
        super()._put_conn(conn)


class _TLSPool(_PlainPool, HTTPSConnectionPool):
    """The same over TLS: `super()` above is `HTTPSConnectionPool` here."""

    ConnectionCls = _TLSConnection


_POOLS = {"http": _PlainPool, "https": _TLSPool}

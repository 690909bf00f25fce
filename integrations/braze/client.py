"""HTTP to Braze: one pooled session for the process, bounded times, never a redirect."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError

from integrations.braze.models import Endpoint

CONNECT_SECONDS = 2.0
#: Between two reads. Braze is slow at times; a short time-out would turn slow successes into unknown outcomes.
READ_SECONDS = 30.0
#: For the whole answer, however it drips.
TOTAL_SECONDS = 38.0
MAX_ANSWER_BYTES = 1_000_000
POOL = 64

PATHS = {Endpoint.TRACK: "/users/track", Endpoint.DELETE: "/users/delete"}


class NotSent(Exception):
    """The request did not reach Braze; sending it again is safe."""


class NoAnswer(Exception):
    """The request may have reached Braze; what became of it is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the body is untrusted text."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def post(base_url: str, endpoint: str, api_key: str, body: bytes) -> Answer:
    """Send a ready JSON body. Raises `NotSent` or `NoAnswer`."""
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        response = _session().post(
            f"{base_url}{PATHS[Endpoint(endpoint)]}",
            data=body,
            headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            stream=True,
        )
        with response:
            return Answer(response.status_code, _read(response, deadline), response.headers)
    except requests.RequestException as error:
        raise _classified(error) from error


def _read(response: requests.Response, deadline: float) -> bytes:
    received = bytearray()
    for chunk in response.iter_content(65_536):
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            raise NoAnswer("Braze's answer is too long to be one of its own.")
        if time.monotonic() > deadline:
            raise NoAnswer(f"Braze's answer was not complete after {TOTAL_SECONDS:.0f} s.")
    return bytes(received)


def _classified(error: requests.RequestException) -> NotSent | NoAnswer:
    """Only a connection that was never made is proof that nothing was sent."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    never_connected = isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError)
    if never_connected or isinstance(reason, NewConnectionError):
        return NotSent(f"Braze could not be reached: {type(reason or error).__name__}")
    return NoAnswer(f"The connection broke before Braze's answer was complete: {type(error).__name__}")


@cache
def _session() -> requests.Session:
    """Proxies are read from the environment once: `trust_env` reads files on every request, at half the speed."""
    session = requests.Session()
    session.proxies = dict(getproxies())
    session.trust_env = False
    adapter = HTTPAdapter(pool_connections=POOL, pool_maxsize=POOL, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session

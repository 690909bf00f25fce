"""HTTP to Braze: one pooled session for the process, bounded times, never a redirect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from math import inf

import requests
from django.conf import settings
from requests.utils import get_environ_proxies
from urllib3 import Timeout
from urllib3.exceptions import NewConnectionError

from integrations.braze.delivery.transport import BoundedAdapter, DatedBody
from integrations.braze.models import Endpoint

CONNECT_SECONDS = 2.0
#: From connecting to the last byte of the answer, however slowly it comes. Braze is slow at times; a short time-out
#: would turn slow successes into unknown outcomes.
TOTAL_SECONDS: float = settings.BRAZE_READ_TIMEOUT_SECONDS
MAX_ANSWER_BYTES = 1_000_000
POOL = 64

PATHS = {Endpoint.TRACK: "/users/track", Endpoint.DELETE: "/users/delete"}


class NotSent(Exception):
    """The request did not reach Braze; sending it again is safe."""


class NoAnswer(Exception):
    """The request may have reached Braze; its outcome is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. The body is untrusted text."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def post(base_url: str, endpoint: str, api_key: str, body: bytes, leave_by: float = inf) -> Answer:
    """Send a ready JSON body, by `leave_by` on `time.monotonic` or not at all. Raises `NotSent` or `NoAnswer`."""
    return post_to(base_url, PATHS[Endpoint(endpoint)], api_key, DatedBody(body, leave_by), TOTAL_SECONDS)


def post_to(base_url: str, path: str, api_key: str, body: bytes, total_seconds: float) -> Answer:
    """Like `post`, for any path, within `total_seconds`. Raises `NotSent` or `NoAnswer`."""
    try:
        response = _session().post(
            f"{base_url}{path}",
            data=body,
            headers={"Authorization": f"Bearer {api_key}".encode(), "Content-Type": "application/json"},
            timeout=Timeout(connect=CONNECT_SECONDS, total=total_seconds),  # type: ignore[arg-type]  # the stubs do not know
            proxies=_proxies(base_url),
            allow_redirects=False,
            stream=True,
        )
        with response:
            return Answer(response.status_code, _read(response), response.headers)
    except requests.RequestException as error:
        raise _classified(error) from error


def _read(response: requests.Response) -> bytes:
    received = bytearray()
    for chunk in response.iter_content(65_536):
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            raise NoAnswer("Braze's answer is too long to be one of its own.")
    return bytes(received)


def _classified(error: requests.RequestException) -> NotSent | NoAnswer:
    """Only a connection that was never made, or a malformed request, proves that nothing was sent."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    is_malformed = isinstance(error, ValueError)  # as requests' InvalidURL and InvalidHeader are
    if is_malformed or isinstance(error, requests.exceptions.ProxyError) or isinstance(reason, NewConnectionError):
        return NotSent(f"Braze could not be reached: {type(reason or error).__name__}")
    return NoAnswer(f"The connection broke before Braze's answer was complete: {type(error).__name__}")


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: an answer's `Location` is not even looked at.

        `requests` reads it although nothing is followed, and fails for one that is no URL.
        """


@cache
def _session() -> requests.Session:
    """One session for all requests, without state: no cookies, no .netrc, nothing read from the environment."""
    session = _Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = BoundedAdapter(pool_connections=POOL, pool_maxsize=POOL, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@cache
def _proxies(base_url: str) -> dict[str, str]:
    """Read once per host, NO_PROXY included: with `trust_env`, requests reads files each time, at half the speed."""
    return dict(get_environ_proxies(base_url))

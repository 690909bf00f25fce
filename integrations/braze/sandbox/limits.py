"""Rate limits and their headers [1.5, 1.6]."""

from collections import deque
from dataclasses import dataclass

from integrations.braze.sandbox.messages import Response, message

EMPTY_HEADERS = {"X-RateLimit-Limit": "", "X-RateLimit-Remaining": "", "X-RateLimit-Reset": ""}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `seconds`; 0 calls = no limit."""

    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after a request: `wait` > 0 means it was refused, with that many seconds to go."""

    limit: int
    remaining: int
    reset_in: float
    wait: float = 0.0


class SlidingWindow:
    """The strict reading of "N calls in T seconds": any T seconds, not only those that start on a mark."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._times: deque[float] = deque()

    def take(self, now: float) -> Standing:
        times, seconds = self._times, self.limit.seconds
        while times and times[0] <= now - seconds:
            times.popleft()
        reset_in = times[0] + seconds - now if times else seconds
        if len(times) >= self.limit.calls:
            return Standing(self.limit.calls, 0, reset_in, wait=reset_in)
        times.append(now)
        return Standing(self.limit.calls, self.limit.calls - len(times), reset_in)


class HourlyCap:
    """A count that starts again on the clock hour, not on a rolling window [1.5]."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._hour = -1
        self._used = 0

    def take(self, now: float) -> Standing:
        hour, reset_in = int(now // 3600), 3600 - now % 3600
        if hour != self._hour:
            self._hour, self._used = hour, 0
        if self._used >= self.calls:
            return Standing(self.calls, 0, reset_in, wait=reset_in)
        self._used += 1
        return Standing(self.calls, self.calls - self._used, reset_in)


class Limiter:
    """The limits of one sandbox: one budget per workspace (here: per API key) and endpoint class."""

    def __init__(self, limits: dict[str, Limit], hourly_calls: int = 0, style: str = "epoch") -> None:
        self._limits = limits
        self._hourly_calls = hourly_calls
        self._style = style
        self._windows: dict[tuple[str, str], SlidingWindow] = {}
        self._caps: dict[str, HourlyCap] = {}

    def take(self, endpoint: str, workspace: str, now: float) -> tuple[Standing | None, Response | None]:
        """Spend one call. The standing (None: unlimited) is for the headers; a response means 429."""
        standing = None
        if self._limits[endpoint].calls:
            window = self._windows.setdefault((endpoint, workspace), SlidingWindow(self._limits[endpoint]))
            standing = window.take(now)
        if endpoint == "track" and self._hourly_calls and not (standing and standing.wait):
            standing = self._caps.setdefault(workspace, HourlyCap(self._hourly_calls)).take(now)
        return standing, self.refusal(standing.wait, now, standing) if standing and standing.wait else None

    def headers(self, standing: Standing | None, now: float) -> dict[str, str]:
        if standing is None:
            return {}
        in_seconds = self._style == "seconds"
        reset = max(1, round(standing.reset_in)) if in_seconds else int(now + standing.reset_in) + 1
        return {
            "X-RateLimit-Limit": str(standing.limit),
            "X-RateLimit-Remaining": str(standing.remaining),
            "X-RateLimit-Reset": str(reset),
        }

    def refusal(self, wait: float, now: float, standing: Standing | None = None) -> Response:
        """The 429. In the style "seconds" the three headers are replaced by X-Ratelimit-Retry-After [1.6]."""
        response = message(429, "Rate Limited")
        if self._style == "seconds":
            response.headers = {"X-Ratelimit-Retry-After": str(int(wait) + 1)}
        else:
            response.headers = self.headers(standing or Standing(0, 0, wait, wait), now)
        return response

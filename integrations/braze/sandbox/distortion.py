"""Turning an honest answer into what the faults that hit its request ask for."""

from integrations.braze.sandbox.faults import Fault
from integrations.braze.sandbox.limits import EMPTY_HEADERS, Limiter
from integrations.braze.sandbox.messages import Response, message

HTML = (
    "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr><center>nginx</center></body></html>"
)
MESSAGES = {
    202: "queued",
    400: "Bad Request",
    403: "Access Denied",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
GATEWAY_STATUSES = (502, 503, 504)


def distort(response: Response, picked: list[tuple[Fault, float]], key: str, limiter: Limiter, now: float) -> Response:
    """`picked`: the faults, each with the seconds of latency drawn for this request. The first status given wins."""
    failing = next((fault for fault, _ in picked if fault.status), None)
    if failing is not None:
        users = response.users
        response = _failure(failing, key, limiter, now)
        response.users = users
    for fault, seconds in picked:
        response.delay += seconds
        response.drip = max(response.drip, fault.drip)
        if fault.hang or fault.close or fault.truncate:
            response.manner = "hang" if fault.hang else "close" if fault.close else "truncate"
    return response


def _failure(fault: Fault, key: str, limiter: Limiter, now: float) -> Response:
    if fault.status == 429:
        refusal = limiter.refusal(fault.retry_after, now)
        refusal.body = message(429, fault.message).body if fault.message else refusal.body
        return refusal
    if fault.status == 401:
        response = message(401, fault.message or f"Invalid API key: {key}")
        response.headers = dict(EMPTY_HEADERS)
        return response
    text = fault.message or MESSAGES.get(fault.status, "success" if fault.status < 300 else "Error")
    is_html = fault.status in GATEWAY_STATUSES if fault.html is None else fault.html
    if is_html:
        return Response(fault.status, HTML.format(f"{fault.status} {text}").encode(), "text/html")
    return message(fault.status, text)

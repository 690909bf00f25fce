"""Which addresses an API key may be sent to: Braze's REST hosts and those the deployment adds."""

import re
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

#: `rest.iad-01.braze.com`, `rest.fra-02.braze.eu`: a pattern, since Braze adds instances [Braze: API overview].
REST_HOST = re.compile(r"rest\.[a-z]{2,4}-[0-9]{2}\.braze\.(com|eu)")

WHERE = "In Braze: Settings → APIs and Identifiers shows your instance and its REST endpoint."


def normalised(url: str) -> str:
    """`url` as a bare base URL, `https://<host>`: path, query, port and user info are not kept.

    Raises `ValidationError` that says what is wrong and where in Braze the right address is.
    """
    base = url.strip().rstrip("/")
    if base in extra_endpoints():
        return base
    parts = _split(base)
    host = (parts.hostname or "").lower()
    if not REST_HOST.fullmatch(host):
        raise ValidationError(_why_not_a_host(host), code="host")
    if parts.scheme != "https":
        raise ValidationError(f"The endpoint must begin with https://, so: https://{host}", code="scheme")
    return f"https://{host}"


def validate_endpoint(url: str) -> None:
    normalised(url)


def hint(url: str) -> str:
    """A word of caution about an endpoint that is accepted, or ""."""
    host = urlsplit(url).hostname or ""
    if host.startswith("rest.fra-") and host.endswith(".braze.com"):
        return f"Braze lists its FRA hosts under .eu: if calls fail, try https://{host.removesuffix('.com')}.eu"
    return ""


def is_real_host(url: str) -> bool:
    """Whether the address is Braze's own, not one that the deployment added."""
    return url not in extra_endpoints()


def extra_endpoints() -> set[str]:
    return {url.strip().rstrip("/") for url in settings.BRAZE_EXTRA_ENDPOINTS}


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        _ = parts.port
    except ValueError as error:
        raise ValidationError(f"This is not an address. {WHERE}", code="url") from error
    return parts


def _why_not_a_host(host: str) -> str:
    if host.startswith("dashboard"):
        return f"{host} is the address of Braze's dashboard, not of its REST API. {WHERE}"
    if host.startswith("sdk."):
        return f"{host} is Braze's address for apps (SDK), not for its REST API. {WHERE}"
    return f"“{host}” is not a Braze REST host such as rest.iad-01.braze.com or rest.fra-02.braze.eu. {WHERE}"

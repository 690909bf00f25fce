"""Which addresses an API key may be sent to: Braze's REST hosts and those the deployment adds."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

#: `rest.iad-01.braze.com`, `rest.fra-02.braze.eu`: a pattern, since Braze adds instances [Braze: API overview].
REST_HOST = re.compile(r"rest\.[a-z]{2,4}-[0-9]{2}\.braze\.(com|eu)")


@dataclass(frozen=True, slots=True)
class Instance:
    """One of Braze's own installations: the name its dashboard shows, its region in words, its REST address."""

    name: str
    region: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}, {self.region}: {self.url.removeprefix('https://')}"


#: Those that Braze lists [Braze: API overview, 2026-09]; any other host of the pattern is accepted, too.
INSTANCES = (
    *(Instance(f"US-0{n}", "United States", f"https://rest.iad-0{n}.braze.com") for n in range(1, 9)),
    Instance("US-10", "United States", "https://rest.us-10.braze.com"),
    Instance("EU-01", "European Union", "https://rest.fra-01.braze.eu"),
    Instance("EU-02", "European Union", "https://rest.fra-02.braze.eu"),
    Instance("AU-01", "Australia", "https://rest.au-01.braze.com"),
    Instance("ID-01", "Indonesia", "https://rest.id-01.braze.com"),
    Instance("JP-01", "Japan", "https://rest.jp-01.braze.com"),
    Instance("KR-01", "South Korea", "https://rest.kr-01.braze.com"),
)

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


def in_words(url: str) -> str:
    """The instance behind an address, where Braze lists it; else the address."""
    return next((str(each) for each in INSTANCES if each.url == url), url)


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

"""Callables for the theme's settings: our stylesheet, our script, and a palette."""

from django.http import HttpRequest
from django.templatetags.static import static


def stylesheet(request: HttpRequest) -> str:
    return static("console/console.css")


def script(request: HttpRequest) -> str:
    return static("console/names.js")


def primary(request: HttpRequest) -> dict[str, str]:
    """Shades of one blue-green, by weight; white text on 600 has a contrast above 4.5."""
    return {
        "50": "oklch(97.5% .02 195)",
        "100": "oklch(94% .04 195)",
        "200": "oklch(88% .07 195)",
        "300": "oklch(80% .1 195)",
        "400": "oklch(72% .11 195)",
        "500": "oklch(60% .1 200)",
        "600": "oklch(48% .09 205)",
        "700": "oklch(42% .08 205)",
        "800": "oklch(36% .07 205)",
        "900": "oklch(31% .06 205)",
        "950": "oklch(22% .045 205)",
    }

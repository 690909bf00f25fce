"""The page at / and the two files it is made of; nothing on it comes from another address."""

from functools import cache
from importlib.resources import files

from integrations.braze.sandbox.messages import Request, Response, message

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
}
HEADERS = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'self'; img-src data:"}


def serve_page(request: Request) -> Response:
    if request.path not in FILES or request.method != "GET":
        return message(404, "Not Found")
    name, content_type = FILES[request.path]
    return Response(200, _read(name), content_type, HEADERS)


@cache
def _read(name: str) -> bytes:
    return (files(__package__) / "static" / name).read_bytes()

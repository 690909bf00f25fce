"""Refuses NUL in URLs: PostgreSQL's text cannot hold it, and a query with it would end in a server error."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

Answer = Callable[[HttpRequest], HttpResponse]


def without_nul(get_response: Answer) -> Answer:
    """A middleware that answers 400. In forms, the fields refuse NUL."""

    def answer(request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.path:
            return HttpResponseBadRequest("An address cannot hold the character NUL.", content_type="text/plain")
        return get_response(request)

    return answer

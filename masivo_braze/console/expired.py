"""Says to whoever sends a form after their session has expired, and is asked to log in, that nothing was done."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

Answer = Callable[[HttpRequest], HttpResponse]

WORDS = "Your session had expired: nothing was done. Log in, and repeat what you did."


def told_if_expired(get_response: Answer) -> Answer:
    """A middleware; the login page shows the words."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_sent_away = isinstance(response, HttpResponseRedirect) and response.url.startswith(reverse("admin:login"))
        if request.method == "POST" and is_sent_away and not request.user.is_authenticated:
            messages.warning(request, WORDS)
        return response

    return answer

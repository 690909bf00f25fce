"""What a person reads who is refused: that nothing was done, why, and the way on."""

from html import unescape
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse


def words(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def test_a_page_from_before_the_login_says_that_nothing_was_done() -> None:
    """Logging in again, in another tab, made each open page end in “CSRF verification failed. Request aborted.”"""
    client = Client(enforce_csrf_checks=True)
    answer = client.post(reverse("admin:login"), {"username": "ada"})
    assert answer.status_code == 403
    assert "Nothing was done" in words(answer) and "opened before you logged in again" in words(answer)
    assert "CSRF" not in answer.content.decode()


def test_whose_session_has_expired_is_told_that_nothing_was_done(db: None) -> None:
    """A decision about failed syncs led to the login and back to the list without a word."""
    client, password = Client(), "correct horse"
    User.objects.create_superuser("ada", password=password)
    decision = {"action": "discard", "_selected_action": "1", "chosen": "1", "reason": "a test"}
    login = client.post("/admin/braze/failedsync/", decision)
    assert login.status_code == 302
    assert "Your session had expired: nothing was done" in words(client.get(login["Location"]))
    page = client.post(login["Location"], {"username": "ada", "password": password}, follow=True)
    assert page.status_code == 200 and "session had expired" not in words(page)
    assert "session had expired" not in words(client.post("/admin/logout/", follow=True))


def test_whoever_lacks_a_permission_is_told_so(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_user("ada", is_staff=True))
    answer = client.get("/admin/auth/user/")
    assert answer.status_code == 403
    assert "You may not do this" in words(answer)


def test_a_page_that_is_not_there_leads_on(admin_client: Client) -> None:
    answer = admin_client.get("/admin/nowhere/")
    assert answer.status_code == 404
    assert "There is no such page" in words(answer)
    assert f'href="{reverse("admin:index")}"' in answer.content.decode()

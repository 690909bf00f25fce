"""An operator switches a kind of record off and on in the admin."""

import pytest

from dev.stack import WORKERS, Stack
from dev.waiting import wait_until
from tests.e2e.admin import Admin
from tests.e2e.shop import Shop

pytestmark = pytest.mark.e2e

SETTINGS = "/admin/braze/brazesettings/1/change/"


@pytest.fixture
def admin(stack: Stack, shop: Shop) -> Admin:
    """Logged in, with all processes up and the account's first customer already in Braze."""
    stack.env["DJANGO_SUPERUSER_PASSWORD"] = "admin-password"
    stack.manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com")
    stack.start(*WORKERS)
    shop.save_customers(1, "c")
    wait_until(lambda: stack.sandbox.profile("c-0"), "the first customer")
    return Admin(stack.start_web(), "admin", "admin-password")


def add_event(admin: Admin, kind: str) -> None:
    admin.submit("/admin/loyalty/event/add/", account="1", customer="1", type=kind)


def events(stack: Stack) -> dict[str, int]:
    counts: dict[str, int] = stack.sandbox.profile("c-0")["event_counts"]
    return counts


def seconds_to_arrive(stack: Stack, admin: Admin, kind: str) -> float:
    add_event(admin, kind)
    return wait_until(lambda: events(stack).get(kind) == 1, "the event")


def test_it_sends_events_within_two_seconds_while_the_toggle_is_on_and_never_while_off(
    stack: Stack, admin: Admin
) -> None:
    assert min(seconds_to_arrive(stack, admin, name) for name in ("first", "second", "third")) < 2
    admin.submit(SETTINGS, sync_events=False)
    add_event(admin, "while-off")
    admin.submit(SETTINGS, sync_events=True)
    add_event(admin, "while-on-again")
    # A customer's changes arrive in order: had the one in between been captured, it would be there by now.
    wait_until(lambda: "while-on-again" in events(stack), "the event")
    assert events(stack) == dict.fromkeys(("first", "second", "third", "while-on-again"), 1)


def test_it_keeps_the_api_key_when_the_form_is_saved_without_one(stack: Stack, admin: Admin) -> None:
    admin.submit(SETTINGS, sync_audiences=False)
    assert "sandbox-demo-key" not in admin.get(SETTINGS).text
    add_event(admin, "after-saving")
    wait_until(lambda: "after-saving" in events(stack), "the event")

"""A person decides about failed syncs in the admin, in the list: in bulk, with a page that asks, and a trace of it."""

from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations.braze.admin import decisions
from integrations.braze.models import BrazePurchase
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.failed_syncs import LIST, act, allow, confirm, entry_page, fates, said, text_of

Sync = Callable[[], None]


# --- the list -----------------------------------------------------------------------------------------


def test_it_lists_what_failed_and_nothing_else(
    unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client
) -> None:
    listed = admin_client.get(LIST).context["cl"].result_list
    assert {entry.pk for entry in listed} == {*(entry.pk for entry in unknown), refused.pk}
    assert "No <b>poison</b>" in text_of(admin_client.get(LIST))
    assert b"<b>poison</b>" not in admin_client.get(LIST).content


def test_it_filters_by_account_kind_status_and_day(
    unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client
) -> None:
    def listed(query: str) -> int:
        return len(admin_client.get(f"{LIST}?{query}").context["cl"].result_list)

    day = refused.settled_at
    assert day is not None
    assert listed("status=rejected") == 1
    assert listed("status=unknown") == len(unknown) == 4
    assert listed("kind__exact=event") == 3
    assert listed(f"account__id__exact={refused.account_id}") == 5
    other = Account.objects.create(name="Other", slug="other")
    assert listed(f"account__id__exact={other.pk}") == 0
    today = f"settled_at__year={day.year}&settled_at__month={day.month}&settled_at__day="
    assert listed(f"{today}{day.day}") == 5
    assert listed(f"{today}{day.day % 28 + 1}") == 0


# --- decisions ----------------------------------------------------------------------------------------


def test_it_sends_again_what_braze_refused_without_asking(
    refused: OutboxEntry, sandbox: SandboxServer, sync: Sync, admin_client: Client
) -> None:
    page = act(admin_client, "send_again", [refused])
    assert said(page) == ["1 change to be sent again."]
    sync()
    assert sandbox.summary()["events"] == 1


def test_it_explains_that_what_is_unknown_may_arrive_twice(
    unknown: list[OutboxEntry], refused: OutboxEntry, sandbox: SandboxServer, sync: Sync, admin_client: Client
) -> None:
    page = act(admin_client, "send_again", [*unknown, refused])
    assert "they may have arrived" in page
    assert "4 of them of" in page
    assert fates() == {"unknown": 4, "rejected": 1}
    assert said(confirm(admin_client, "send_again", page)) == ["5 changes to be sent again."]
    sync()
    assert fates() == {"delivered": 5}
    assert sandbox.summary()["duplicates"] == {"event_id": 2, "purchase_id": 2}  # 29.33 for two takes two purchases


def test_it_treats_as_delivered_only_what_may_have_arrived(
    unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client
) -> None:
    page = act(admin_client, "treat_as_delivered", [*unknown, refused])
    assert "1 of the chosen was refused by Braze" in page
    assert said(confirm(admin_client, "treat_as_delivered", page)) == ["4 changes treated as delivered."]
    assert fates() == {"delivered": 4, "rejected": 1}
    assert set(BrazePurchase.objects.values_list("fate", flat=True)) == {"delivered"}


def test_it_does_nothing_where_nothing_chosen_may_have_arrived(refused: OutboxEntry, admin_client: Client) -> None:
    page = act(admin_client, "treat_as_delivered", [refused])
    assert said(page) == ["1 of the chosen was refused by Braze, so it has not arrived: left as before."]
    assert not LogEntry.objects.exists()


def test_it_discards_only_for_a_reason(unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client) -> None:
    page = act(admin_client, "discard", [refused, unknown[0]])
    assert 'name="reason"' in page
    again = confirm(admin_client, "discard", page, reason="  ")
    assert "Say why" in again
    assert fates() == {"unknown": 4, "rejected": 1}
    confirm(admin_client, "discard", again, reason="a test & no more")
    assert fates() == {"unknown": 3, "discarded": 2}
    assert OutboxEntry.objects.get(pk=refused.pk).error == "discarded by admin: a test & no more"


def test_it_takes_no_reason_that_is_longer_than_the_field(refused: OutboxEntry, admin_client: Client) -> None:
    page = act(admin_client, "discard", [refused])
    again = confirm(admin_client, "discard", page, reason="x" * 501)
    assert "The reason is 501 characters long: say it in 500 or fewer." in again
    assert f'value="{"x" * 501}"' in again  # to be shortened, not typed again
    assert fates() == {"rejected": 1}
    confirm(admin_client, "discard", again, reason="x" * 500)
    refused.refresh_from_db()
    assert refused.error == f"discarded by admin: {'x' * 500}"


def test_it_says_how_many_of_the_chosen_braze_refused(
    unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client
) -> None:
    events = [entry for entry in unknown if entry.kind == "event"]
    page = " ".join(act(admin_client, "discard", [*events, refused]).split())
    assert "3 changes chosen, 2 of them of unknown outcome; Braze refused the other." in page
    OutboxEntry.objects.filter(pk=events[0].pk).update(status="rejected")
    page = " ".join(act(admin_client, "discard", [*events, refused]).split())
    assert "3 changes chosen, 1 of them of unknown outcome; Braze refused the others." in page


def test_it_takes_an_order_s_changes_together_and_says_so(unknown: list[OutboxEntry], admin_client: Client) -> None:
    line = next(entry for entry in unknown if entry.kind == "order_line")
    page = act(admin_client, "treat_as_delivered", [line])
    assert said(confirm(admin_client, "treat_as_delivered", page)) == [
        "1 change treated as delivered, and 1 more of the same orders with them."
    ]


def test_it_says_how_many_had_meanwhile_changed(unknown: list[OutboxEntry], admin_client: Client) -> None:
    events = [entry for entry in unknown if entry.kind == "event"]
    page = act(admin_client, "treat_as_delivered", events)
    OutboxEntry.objects.filter(pk=events[0].pk).update(status="skipped")
    assert said(confirm(admin_client, "treat_as_delivered", page)) == [
        "1 change treated as delivered.",
        "1 change had meanwhile changed and was left alone.",
    ]
    assert OutboxEntry.objects.get(pk=events[0].pk).status == "skipped"
    assert LogEntry.objects.count() == 1


def test_it_says_so_where_a_chosen_refusal_was_decided_about_since_the_list_was_shown(
    refused: OutboxEntry, admin_client: Client
) -> None:
    OutboxEntry.objects.filter(pk=refused.pk).update(status="skipped")
    assert said(act(admin_client, "send_again", [refused])) == [
        "0 changes to be sent again.",
        "1 change had meanwhile changed and was left alone.",
    ]


def test_it_decides_about_the_chosen_ones_alone_when_more_fail_meanwhile(
    unknown: list[OutboxEntry], refused: OutboxEntry, admin_client: Client
) -> None:
    """All of a filtered list: what comes to match it while the person reads the page was not looked at."""
    OutboxEntry.objects.filter(pk=unknown[0].pk).update(status="pending")
    page = act(admin_client, "discard", [refused], select_across="1")
    OutboxEntry.objects.filter(pk=unknown[0].pk).update(status="unknown")
    confirm(admin_client, "discard", page, reason="old")
    assert OutboxEntry.objects.get(pk=unknown[0].pk).status == "unknown"
    assert fates() == {"unknown": 1, "discarded": 4}


def test_it_takes_so_many_at_once_and_says_that_there_are_more(
    unknown: list[OutboxEntry], admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MOST", 1)
    page = act(admin_client, "discard", unknown[:2], select_across="1")
    assert "1 changes at a time: choose again for the rest" in page
    confirm(admin_client, "discard", page, reason="old")
    assert fates() == {"unknown": 3, "discarded": 1}


def test_it_records_who_decided_what(refused: OutboxEntry, unknown: list[OutboxEntry], admin_client: Client) -> None:
    act(admin_client, "send_again", [refused])
    log = LogEntry.objects.get()
    assert (log.user.get_username(), log.object_id) == ("admin", str(refused.pk))
    assert log.change_message == "To be sent again"
    confirm(admin_client, "discard", act(admin_client, "discard", [unknown[0]]), reason="old")
    assert LogEntry.objects.filter(change_message="Discarded: old").count() == 1
    history = text_of(admin_client.get(reverse("admin:braze_failedsync_history", args=(refused.pk,)), follow=True))
    assert "To be sent again" in history


# --- who may ------------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client, account: Account) -> tuple[Client, User]:
    create_permissions(apps.get_app_config("braze"), verbosity=0)
    user = User.objects.create_user("eve", password="eve", is_staff=True)
    account.members.add(user)
    client.force_login(user)
    return client, user


def test_it_lets_only_those_decide_who_may_change(refused: OutboxEntry, staff: tuple[Client, User]) -> None:
    client, user = staff
    page, ask = (reverse(f"admin:braze_failedsync_{name}", args=(refused.pk,)) for name in ("change", "ask"))
    assert client.get(LIST).status_code == 403
    allow(user, "view_failedsync", "change_outboxentry")
    assert 'value="send_again"' not in text_of(client.get(LIST))
    assert 'id="decide"' not in text_of(client.get(page))
    client.post(LIST, {"action": "send_again", "_selected_action": [refused.pk]})
    client.post(LIST, {"action": "discard", "_selected_action": [refused.pk], "chosen": refused.pk, "reason": "no"})
    assert client.post(ask).status_code == 403
    assert fates() == {"rejected": 1}
    allow(user, "view_failedsync", "change_failedsync")
    assert 'id="decide"' in text_of(client.get(page))
    act(client, "send_again", [refused])
    assert fates() == {"pending": 1}


def test_nobody_edits_a_failed_sync(refused: OutboxEntry, admin_client: Client) -> None:
    page = reverse("admin:braze_failedsync_change", args=(refused.pk,))
    assert 'name="_save"' not in entry_page(admin_client, refused)
    assert admin_client.post(page, {"status": "delivered"}).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{refused.pk}/delete/", {"post": "yes"}).status_code == 403

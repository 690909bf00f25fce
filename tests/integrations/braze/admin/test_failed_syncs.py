"""A person decides about failed syncs in the admin: in bulk or one by one, with everything on the page to decide by."""

import re
from collections import Counter
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from integrations.braze.admin import decisions
from integrations.braze.models import BrazeProfile, BrazePurchase, BrazeSettings, BrazeState, Delivery
from integrations.braze.models.account import PauseKind
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer, Event, Order, OrderLine

Sync = Callable[[], None]
LIST = "/admin/braze/failedsync/"


@pytest.fixture
def unknown(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> list[OutboxEntry]:
    """An order and two events that were applied, though the answer was lost."""
    BrazeSettings.objects.update(unknown_events="hold")
    one = Customer.objects.create(account=account, external_id="c1", first_name="Ada")
    for kind in ("VISIT", "LOGIN"):
        Event.objects.create(account=account, customer=one, type=kind)
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value="29.33")
    sandbox.faults.add(close="after", times=1)
    sync()
    BrazeState.objects.update(backoff_until=None)
    sync()
    return list(OutboxEntry.objects.filter(status="unknown").order_by("pk"))


@pytest.fixture
def refused(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> OutboxEntry:
    """An event that Braze refused."""
    one = Customer.objects.create(account=account, external_id="c2")
    Event.objects.create(account=account, customer=one, type="POISON")
    sandbox.faults.add(status=400, contains="POISON", message="No <b>poison</b>, please")
    sync()
    sandbox.faults.clear()
    return OutboxEntry.objects.get(status="rejected")


def act(client: Client, action: str, entries: list[OutboxEntry], **more: Any) -> str:
    data = {"action": action, "_selected_action": [entry.pk for entry in entries], **more}
    return text_of(client.post(LIST, data, follow=True))


def confirm(client: Client, action: str, page: str, **more: Any) -> str:
    """Send the form of the page that asks."""
    found = dict(re.findall(r'<input type="hidden" name="(chosen|_selected_action)" value="([^"]*)">', page))
    return text_of(client.post(LIST, {"action": action, **found, **more}, follow=True))


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return unescape(response.content.decode())


def said(page: str) -> list[str]:
    found = re.findall(r'class="[^"]* bg-(?:green|orange)-100 [^"]*">(.*?)</div>', page, re.DOTALL)
    return [words.strip() for words in found]


def fates() -> dict[str, int]:
    return Counter(OutboxEntry.objects.exclude(kind__startswith="customer").values_list("status", flat=True))


def entry_page(client: Client, entry: OutboxEntry) -> str:
    return text_of(client.get(reverse("admin:braze_failedsync_change", args=(entry.pk,))))


# --- the list -------------------------------------------------------------------------------------------


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


# --- decisions ------------------------------------------------------------------------------------------


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


# --- who may --------------------------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client, account: Account) -> tuple[Client, User]:
    create_permissions(apps.get_app_config("braze"), verbosity=0)
    user = User.objects.create_user("eve", password="eve", is_staff=True)
    account.members.add(user)
    client.force_login(user)
    return client, user


def allow(user: User, *names: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=names))


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


# --- the page of one ------------------------------------------------------------------------------------


def test_a_dead_letter_keeps_its_payload_braze_s_words_its_request_and_its_time(
    refused: OutboxEntry, admin_client: Client
) -> None:
    page = entry_page(admin_client, refused)
    request = Delivery.objects.get(pk=refused.batch)
    assert request.started_at is not None
    assert '"name": "POISON"' in page
    assert "No <b>poison</b>, please" in page
    assert str(request.pk) in page
    assert f"{request.started_at:%Y-%m-%d %H:%M:%S}" in page
    assert "400" in page


def test_a_held_change_shows_its_own_object_of_the_request(unknown: list[OutboxEntry], admin_client: Client) -> None:
    """Two events of one customer in one request: each shows its own."""
    visit, login = (entry for entry in unknown if entry.kind == "event")
    assert '"VISIT"' in entry_page(admin_client, visit)
    assert '"LOGIN"' not in entry_page(admin_client, visit)
    assert '"LOGIN"' in entry_page(admin_client, login)


def test_a_held_order_shows_the_purchases_that_are_held_and_no_others(
    unknown: list[OutboxEntry], admin_client: Client
) -> None:
    order = next(entry for entry in unknown if entry.kind == "order")
    arrived, held = BrazePurchase.objects.order_by("part")
    BrazePurchase.objects.filter(pk=arrived.pk).update(fate="delivered")
    page = entry_page(admin_client, order)
    assert f'"purchase_id": "{held.purchase_id}"' in page
    assert arrived.purchase_id not in page


def test_a_change_that_failed_leads_to_the_decision(refused: OutboxEntry, admin_client: Client) -> None:
    page = reverse("admin:outbox_outboxentry_change", args=(refused.pk,))
    decision = reverse("admin:braze_failedsync_change", args=(refused.pk,))
    assert decision in text_of(admin_client.get(page))
    OutboxEntry.objects.update(status="delivered")
    assert decision not in text_of(admin_client.get(page))


def test_it_shows_the_page_of_a_change_whose_request_is_no_longer_kept(
    refused: OutboxEntry, admin_client: Client
) -> None:
    Delivery.objects.all().delete()
    page = entry_page(admin_client, refused)
    assert "No <b>poison</b>" in page
    assert "no longer kept" in page


# --- Ask Braze ------------------------------------------------------------------------------------------


def ask(client: Client, entry: OutboxEntry) -> str:
    return text_of(client.post(reverse("admin:braze_failedsync_ask", args=(entry.pk,))))


def rows(page: str, table: str) -> list[list[str]]:
    body = page.partition(f'<table id="{table}" class="plain stacked">')[2].partition("</table>")[0]
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body.split("</tr>")]
    return [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in found if row]


def test_braze_s_answer_stands_beside_what_is_believed(unknown: list[OutboxEntry], admin_client: Client) -> None:
    page = ask(admin_client, unknown[0])
    assert {name: count for name, count, _ in rows(page, "events")} == {"VISIT": "1", "LOGIN": "1"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", last) for *_, last in rows(page, "events"))
    ((product, counted, _, delivered, held),) = rows(page, "products")
    assert (product, counted, delivered, held) == ("CD", "2", "0", "2")
    assert "total revenue of 29.33 US dollars" in page
    names = {name: (there, differs) for name, there, _, differs in rows(page, "attributes")}
    assert names["first_name"] == ("Ada", "")


def test_it_marks_attributes_that_differ(unknown: list[OutboxEntry], admin_client: Client) -> None:
    profile = BrazeProfile.objects.get(external_id="c1")
    profile.attributes["first_name"] = "Eve"
    profile.save()
    found = {row[0]: row[1:] for row in rows(ask(admin_client, unknown[0]), "attributes")}
    assert found["first_name"] == ["Ada", "Eve", "differs"]


def test_asking_decides_nothing(unknown: list[OutboxEntry], admin_client: Client) -> None:
    before = list(OutboxEntry.objects.values().order_by("pk"))
    ask(admin_client, unknown[0])
    assert list(OutboxEntry.objects.values().order_by("pk")) == before
    assert not LogEntry.objects.exists()


def test_it_says_what_kept_braze_from_answering(
    unknown: list[OutboxEntry], sandbox: SandboxServer, admin_client: Client
) -> None:
    sandbox.faults.add(status=403, endpoint="export")
    assert "lacks the permission users.export.ids" in ask(admin_client, unknown[0])
    sandbox.faults.clear()
    OutboxEntry.objects.update(customer_external_id="nobody")
    assert "Braze has no user with this id" in ask(admin_client, unknown[0])
    BrazeSettings.objects.all().delete()
    assert "no Braze settings" in ask(admin_client, unknown[0])


def test_a_question_is_not_asked_by_following_a_link(
    unknown: list[OutboxEntry], sandbox: SandboxServer, admin_client: Client
) -> None:
    before = len(sandbox.requests())
    page = reverse("admin:braze_failedsync_ask", args=(unknown[0].pk,))
    assert admin_client.get(page).status_code == 302
    assert len(sandbox.requests()) == before


# --- the settings page ----------------------------------------------------------------------------------


def test_the_settings_page_leads_to_what_waits_for_a_decision(
    unknown: list[OutboxEntry], braze: BrazeSettings, admin_client: Client
) -> None:
    page = reverse("admin:braze_brazesettings_change", args=(braze.pk,))
    assert "4 to decide about" in text_of(admin_client.get(page))


def test_the_settings_page_explains_a_restored_database(
    account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    page = reverse("admin:braze_brazesettings_change", args=(braze.pk,))
    assert "braze_restored" not in text_of(admin_client.get(page))
    BrazeState.objects.update(paused_at=database_now(), pause_kind=PauseKind.RESTORED, pause_reason="Lost commits.")
    assert "python manage.py braze_restored --account shop --since" in text_of(admin_client.get(page))
    assert "not settled when this was noticed, and those that Braze had refused" in text_of(admin_client.get(page))
    BrazeState.objects.update(pause_kind=PauseKind.REFUSED)
    assert "braze_restored" not in text_of(admin_client.get(page))

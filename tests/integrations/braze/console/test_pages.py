"""The console's data pages over the admin: what they show, and to whom."""

import codecs
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations.braze.account import steering
from integrations.braze.delivery import readiness
from integrations.braze.models import BrazeProfile, BrazeSettings, BrazeState, Delivery
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.console.lists import CappedPaginator
from masivo_braze.loyalty.models import Account, Audience, Customer, Event, Order, OrderLine
from tests.console.two_accounts import person
from tests.integrations.braze.admin.test_failed_syncs import refused, text_of  # noqa: F401

Sync = Callable[[], None]
HEALTH, ARRIVAL = "/admin/braze/accounthealth/", "/admin/braze/arrival/"


@pytest.fixture
def ada(account: Account, braze: BrazeSettings, sandbox: SandboxServer, sync: Sync) -> Customer:
    one = Customer.objects.create(account=account, external_id="c/1", first_name="Ada", email="ada@example.com")
    order = Order.objects.create(account=account, customer=one, order_id="o1", status="FULFILLED")
    OrderLine.objects.create(order=order, sku="CD", quantity=2, value=9)
    Event.objects.create(account=account, customer=one, type="VISIT", data={"page": "home"})
    sync()
    return one


def client_of(group: str, *accounts: Account) -> Client:
    client = Client()
    client.force_login(person(group.lower(), group, *accounts))
    return client


# --- health ---------------------------------------------------------------------------------------------


def test_health_names_each_account_and_its_state(ada: Customer, account: Account, admin_client: Client) -> None:
    Account.objects.create(name="Empty", slug="empty")
    page = text_of(admin_client.get(HEALTH))
    assert "healthy" in page and "not set up yet" in page
    assert "healthy" in text_of(admin_client.get(f"{HEALTH}*/now/"))
    for path in ("shop/", "shop/?period=day", "shop/now/?period=week", "empty/"):
        assert admin_client.get(HEALTH + path).status_code == 200


def test_an_account_may_have_any_slug(braze: BrazeSettings, account: Account, admin_client: Client) -> None:
    """Also one that is a word of the pages' own addresses."""
    for word in ("now", "act", "account"):
        Account.objects.create(name=f"The shop called {word}", slug=word)
        page = text_of(admin_client.get(f"{HEALTH}{word}/"))
        assert f"Health of The shop called {word}" in page
        assert 'id="state"' in text_of(admin_client.get(f"{HEALTH}{word}/now/"))


@pytest.fixture
def many(account: Account) -> int:
    """So many accounts that the one with records is past the first page of names; how many there are with it."""
    names = [f"A shop, number {number}" for number in range(204)]
    Account.objects.bulk_create(Account(name=name, slug=f"shop-{number}") for number, name in enumerate(names))
    return len(names) + 1


def test_of_many_accounts_those_that_need_somebody_are_on_the_first_page(
    ada: Customer, account: Account, many: int, admin_client: Client
) -> None:
    steering.pause(account.pk, "anna")
    first, second = admin_client.get(HEALTH), admin_client.get(f"{HEALTH}*/now/", {"page": "2"})
    assert "paused by anna" in text_of(first) and "Accounts 1 to 200 of 205" in text_of(first)
    assert "1 attributes, 1 events, 1 purchases" in text_of(first)  # of all accounts
    assert first.context["standings"][0].account == account
    assert "Accounts 201 to 205 of 205" in text_of(second)
    shown = [one.account.slug for page in (first, second) for one in page.context["standings"]]
    assert len(shown) == len(set(shown)) == many
    for beyond in ("99", "0", "-1", "x"):
        assert admin_client.get(HEALTH, {"page": beyond}).context["standings"]


def test_few_accounts_are_one_page(ada: Customer, admin_client: Client) -> None:
    assert "Accounts 1 to" not in text_of(admin_client.get(HEALTH))


def test_health_counts_what_was_delivered(ada: Customer, admin_client: Client) -> None:
    page = admin_client.get(f"{HEALTH}shop/")
    health = page.context["health"]
    assert health.today["delivered"] == OutboxEntry.objects.filter(status="delivered").count() == 4
    assert sum(page.context["chart"]["objects"]["events"]) == 1
    assert health.delay.of == 4
    assert health.budget.mine == 1
    assert "clock hour" not in text_of(page)
    BrazeSettings.objects.update(calls_per_hour=7)
    assert re.search(r"In this clock hour \d, of 7 allowed", text_of(admin_client.get(f"{HEALTH}shop/")))


def act(client: Client, word: str, reason: str = "") -> str:
    return text_of(client.post(f"{HEALTH}shop/act/", {"action": word, "reason": reason}, follow=True))


def test_health_tells_the_last_answer_also_after_days(ada: Customer, admin_client: Client) -> None:
    long_ago = database_now() - timedelta(days=3)
    Delivery.objects.update(created_at=long_ago, started_at=long_ago, finished_at=long_ago)
    for path in ("", "shop/"):
        assert f"{long_ago:%Y-%m-%d %H:%M:%S}" in text_of(admin_client.get(HEALTH + path))


@pytest.mark.parametrize("word", ["pause", "resume", "flush"])
def test_an_action_is_carried_out_and_remembered(
    word: str, account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    if word == "resume":
        steering.pause(account.pk, "anna")
    page = text_of(admin_client.post(f"{HEALTH}shop/act/", {"action": word, "reason": "a test"}, follow=True))
    assert readiness.of(account.pk).state == ("paused" if word == "pause" else "healthy")
    assert LogEntry.objects.get().object_id == str(braze.pk)
    if word == "pause":
        assert "paused by admin: a test, on" in page


def test_a_second_pause_says_who_paused_first(account: Account, braze: BrazeSettings, admin_client: Client) -> None:
    steering.pause(account.pk, "anna", "a campaign")
    page = act(admin_client, "pause", "another reason")
    assert "Nothing has changed: it was already paused by anna: a campaign" in page
    assert "another reason" not in page
    assert not LogEntry.objects.exists()


def test_what_is_not_paused_is_not_resumed(account: Account, braze: BrazeSettings, admin_client: Client) -> None:
    page = act(admin_client, "resume")
    assert "Nothing has changed: it is not paused." in page and "Resumed." not in page
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    ("settings_are", "why"),
    [
        ({}, "paused by anna: a campaign"),
        ({"api_key": ""}, "No API key yet."),
        ({"is_enabled": False}, "The integration is switched off."),
    ],
)
def test_what_cannot_be_sent_is_not_said_to_be_tried(
    settings_are: dict[str, Any], why: str, account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    BrazeSettings.objects.update(**settings_are)
    steering.pause(account.pk, "anna", "a campaign")
    page = act(admin_client, "flush")
    assert f"Nothing is tried: {why}" in page and "is tried now" not in page
    assert not LogEntry.objects.exists()


def test_nothing_is_said_to_be_tried_while_redis_is_stopped(
    account: Account, braze: BrazeSettings, no_redis: None, admin_client: Client
) -> None:
    page = act(admin_client, "flush")
    assert "Nothing is tried: Redis does not answer." in page and "is tried now" not in page


def test_only_who_may_change_health_pauses(account: Account, braze: BrazeSettings) -> None:
    viewer, operator = client_of("Viewer", account), client_of("Operator", account)
    assert "What you can do" not in text_of(viewer.get(f"{HEALTH}shop/"))
    assert viewer.post(f"{HEALTH}shop/act/", {"action": "pause"}).status_code == 403
    assert readiness.of(account.pk).state == "healthy"
    assert operator.get(f"{HEALTH}shop/act/").status_code == 403
    assert operator.post(f"{HEALTH}shop/act/", {"action": "else"}).status_code == 403
    assert operator.post(f"{HEALTH}shop/act/", {"action": "pause"}).status_code == 302
    assert readiness.of(account.pk).state == "paused"


def test_the_way_through_a_restored_database_is_told(
    account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    BrazeState.objects.update(paused_at=database_now(), pause_kind="restored", pause_reason="Lost commits.")
    page = text_of(admin_client.get(f"{HEALTH}shop/"))
    assert "python manage.py braze_restored --account shop --since" in page
    assert "not settled when this was noticed, and those that Braze had refused" in " ".join(page.split())
    page = text_of(admin_client.post(f"{HEALTH}shop/act/", {"action": "resume"}, follow=True))
    assert "braze_restored` is what ends this pause" in page
    assert not LogEntry.objects.exists()


# --- did it arrive? -------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["c/1", "ada@example.com", "ADA@example.com", " o1 ", "the event"])
def test_a_search_leads_to_the_record(ada: Customer, admin_client: Client, term: str) -> None:
    term = str(Event.objects.get().pk) if term == "the event" else term
    page = text_of(admin_client.get(ARRIVAL, {"q": term}, follow=True))
    assert "captured:" in page and "accepted by Braze" in page
    assert '"first_name": "Ada"' in page


@pytest.mark.parametrize("chosen", ["", "shop"])
def test_a_search_is_in_all_accounts(ada: Customer, many: int, admin_client: Client, chosen: str) -> None:
    for term in ("c/1", "o1", str(Delivery.objects.get().pk)):
        page = text_of(admin_client.get(ARRIVAL, {"q": term, "account": chosen}, follow=True))
        assert "Nothing has this id" not in page and "accepted" in page
    assert 'value="shop"' in text_of(admin_client.get(ARRIVAL))


def test_a_search_in_one_account_finds_nothing_of_another(ada: Customer, many: int, admin_client: Client) -> None:
    assert "Nothing has this id" in text_of(admin_client.get(ARRIVAL, {"q": "c/1", "account": "shop-1"}))


def test_a_search_that_finds_nothing_says_what_to_try(ada: Customer, admin_client: Client) -> None:
    assert "Nothing has this id" in text_of(admin_client.get(ARRIVAL, {"q": "nobody"}))


def test_a_search_finds_no_other_accounts_records(ada: Customer, account: Account) -> None:
    other = Account.objects.create(name="Other", slug="other")
    client = client_of("Operator", other)
    for term in ("c/1", "ada@example.com", "o1", str(Event.objects.get().pk)):
        assert "Nothing has this id" in text_of(client.get(ARRIVAL, {"q": term}))
    assert client.get(f"{ARRIVAL}shop/", {"customer": "c/1"}).status_code == 404


def test_records_with_the_same_id_are_offered(ada: Customer, account: Account, admin_client: Client) -> None:
    Customer.objects.create(account=account, external_id="o1")
    page = text_of(admin_client.get(ARRIVAL, {"q": "o1"}))
    assert "2 records have this id" in page


def test_payloads_need_their_permission(ada: Customer, account: Account, sandbox: SandboxServer) -> None:
    viewer, operator = client_of("Viewer", account), client_of("Operator", account)
    page = text_of(viewer.get(f"{ARRIVAL}shop/", {"customer": "c/1"}))
    assert "accepted by Braze" in page and "Ada" not in page
    assert viewer.post(f"{ARRIVAL}shop/?customer=c/1").status_code == 403
    assert '"first_name": "Ada"' in text_of(operator.get(f"{ARRIVAL}shop/", {"customer": "c/1"}))


def test_braze_is_asked_and_the_difference_is_shown(
    ada: Customer, sandbox: SandboxServer, admin_client: Client
) -> None:
    BrazeProfile.objects.update(attributes={"first_name": "Augusta"})
    page = text_of(admin_client.post(f"{ARRIVAL}shop/?customer=c/1"))
    page = " ".join(page.split())
    assert re.search(r"1 event, the last at [\d-]{10} [\d:]{8} UTC; 2 purchases, .*; a total revenue of 9", page)
    assert "differs" in page and "Augusta" in page


def test_the_timeline_of_an_order_has_its_purchases_alone(ada: Customer, admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "order": "o1"}))
    assert "o1:1:1" in page
    assert "captured: event" not in page


def test_an_event_whose_id_cannot_be_one_is_told_of(ada: Customer, admin_client: Client) -> None:
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "event": "no-uuid"}, follow=True))
    assert "There is no such event" in page and "Nothing has this id" in page


def test_an_events_id_may_be_written_in_capitals(ada: Customer, admin_client: Client) -> None:
    capitals = str(Event.objects.get().pk).upper()
    assert "accepted by Braze" in text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "event": capitals}))


@pytest.mark.parametrize("before", ["9" * 30, "9" * 5_000, "-1", "x"])
def test_a_place_in_a_timeline_that_is_none_is_its_beginning(ada: Customer, admin_client: Client, before: str) -> None:
    page = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "before": before})
    assert page.status_code == 200
    assert "accepted by Braze" in text_of(page)


def test_a_refused_change_says_brazes_words(refused: OutboxEntry, admin_client: Client) -> None:  # noqa: F811
    page = text_of(admin_client.get(f"{ARRIVAL}shop/", {"customer": "c2"}))
    assert "rejected: Braze answered 400" in page
    assert "Times are UTC." in page
    assert "<b>poison</b>" in page  # unescaped by text_of
    assert b"<b>poison</b>" not in admin_client.get(f"{ARRIVAL}shop/", {"customer": "c2"}).content


def test_long_timelines_come_in_pages(ada: Customer, account: Account, admin_client: Client) -> None:
    OutboxEntry.objects.bulk_create(
        OutboxEntry(
            account=account, integration="braze", kind="event", customer_external_id="c/1", status="skipped", error="no"
        )
        for _ in range(30)
    )
    first = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1"}).context["timeline"]
    second = admin_client.get(f"{ARRIVAL}shop/", {"customer": "c/1", "before": first.older}).context["timeline"]
    ids = [change.entry.pk for change in (*first.changes, *second.changes)]
    assert ids == sorted(OutboxEntry.objects.values_list("pk", flat=True), reverse=True)
    assert second.older == 0


# --- reasons, and the export ----------------------------------------------------------------------------


@pytest.fixture
def skipped(account: Account, braze: BrazeSettings) -> list[OutboxEntry]:
    return OutboxEntry.objects.bulk_create(
        OutboxEntry(
            account=account, integration="braze", kind="event", customer_external_id=f"=c{number}", status="skipped",
            error="off" if number else "=HYPERLINK(1)",
        )
        for number in range(3)
    )  # fmt: skip


def test_skipped_changes_come_by_reason(skipped: list[OutboxEntry], admin_client: Client) -> None:
    page = admin_client.get("/admin/braze/skippedsync/")
    groups = {group.words: group for group in page.context["groups"]}
    assert {words: group.count for words, group in groups.items()} == {"off": 2, "=HYPERLINK(1)": 1}
    one = admin_client.get("/admin/braze/skippedsync/", {"reason": groups["off"].key})
    assert {entry.error for entry in one.context["cl"].result_list} == {"off"}
    assert len(one.context["cl"].result_list) == 2


def test_failed_syncs_come_by_reason_and_day(refused: OutboxEntry, admin_client: Client) -> None:  # noqa: F811
    page = admin_client.get("/admin/braze/failedsync/")
    (group,) = page.context["groups"]
    assert (group.count, group.words) == (1, refused.error)
    assert refused.settled_at is not None
    day = refused.settled_at.date().isoformat()
    for query, number in (({"day": day}, 1), ({"day": "2020-01-01"}, 0), ({"reason": "else"}, 0)):
        assert len(admin_client.get("/admin/braze/failedsync/", query).context["cl"].result_list) == number
    assert admin_client.get("/admin/braze/failedsync/", {"day": "never"}, follow=True).status_code == 200


def test_an_empty_list_says_what_that_means(account: Account, braze: BrazeSettings, admin_client: Client) -> None:
    assert "Nothing waits for a decision" in text_of(admin_client.get("/admin/braze/failedsync/"))
    assert "No change was skipped" in text_of(admin_client.get("/admin/braze/skippedsync/"))
    assert "Nothing under these filters" in text_of(admin_client.get("/admin/braze/failedsync/?status=unknown"))


def test_the_export_is_csv_without_formulas(skipped: list[OutboxEntry], admin_client: Client) -> None:
    answer = admin_client.get("/admin/braze/skippedsync/export/")
    assert answer.streaming and answer["Content-Type"].startswith("text/csv")
    text = b"".join(answer)
    assert text.startswith(codecs.BOM_UTF8)  # else Excel takes the bytes for another alphabet's, and accents are gone
    lines = text.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("change,account,kind,customer")
    assert len(lines) == 4
    assert not any(cell.startswith("=") for line in lines for cell in line.split(","))
    assert "'=HYPERLINK(1)" in "\n".join(lines)


def test_the_export_follows_the_filters_and_the_accounts(skipped: list[OutboxEntry], admin_client: Client) -> None:
    def exported(client: Client, **query: Any) -> int:
        return len(b"".join(client.get("/admin/braze/skippedsync/export/", query)).splitlines()) - 1

    assert exported(admin_client) == 3
    assert exported(admin_client, q="=c1") == 1
    assert exported(admin_client, kind__exact="order") == 0
    other = Account.objects.create(name="Other", slug="other")
    assert exported(client_of("Viewer", other)) == 0
    nobody = Client()
    nobody.force_login(User.objects.create_user("nobody", is_staff=True))
    assert nobody.get("/admin/braze/skippedsync/export/").status_code == 403


# --- lists ----------------------------------------------------------------------------------------------


def test_long_lists_are_not_counted_to_the_end(
    skipped: list[OutboxEntry], admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CappedPaginator, "most", 2)
    page = admin_client.get("/admin/braze/skippedsync/")
    assert page.context["cl"].result_count == 2
    assert "The list shows the newest 2" in text_of(page)


def words(client: Client, path: str) -> str:
    return " ".join(text_of(client.get(f"/admin/{path}")).split())


def test_a_list_is_cut_where_there_is_more_than_it_shows(
    skipped: list[OutboxEntry], admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CappedPaginator, "most", len(skipped))
    assert "newest 3" not in words(admin_client, "braze/skippedsync/")
    monkeypatch.setattr(CappedPaginator, "most", len(skipped) - 1)
    assert "the newest 2 skipped changes" in words(admin_client, "braze/skippedsync/")


def test_a_list_in_another_order_is_not_called_the_newest(
    skipped: list[OutboxEntry], account: Account, admin_client: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CappedPaginator, "most", 2)
    Customer.objects.bulk_create(Customer(account=account, external_id=f"m{number}") for number in range(3))
    Audience.objects.bulk_create(Audience(account=account, name=name, audience_id=name) for name in "abc")
    assert "the newest 2 customers" in words(admin_client, "loyalty/customer/")
    assert "the first 2 customers in this order" in words(admin_client, "loyalty/customer/?o=1")
    assert "the first 2 audiences in this order" in words(admin_client, "loyalty/audience/")
    assert "The list shows the first 2 in this order" in words(admin_client, "braze/skippedsync/?o=1")


def test_requests_say_how_long_they_took(ada: Customer, admin_client: Client) -> None:
    page = text_of(admin_client.get(reverse("admin:braze_delivery_changelist")))
    assert " ms" in page

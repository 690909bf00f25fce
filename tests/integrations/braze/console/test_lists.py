"""Lists of changes by reason, their export, and lists that are shown in part."""

import codecs
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations.braze.admin.failed_syncs import FailedSyncAdmin
from integrations.braze.console import reasons
from integrations.braze.models import BrazeSettings
from integrations.outbox.models import OutboxEntry
from masivo_braze.console.lists import CappedPaginator
from masivo_braze.loyalty.models import Account, Audience, Customer
from tests.integrations.braze.console.pages import client_of
from tests.integrations.braze.failed_syncs import text_of

# --- reasons, and the export --------------------------------------------------------------------------


def test_skipped_changes_come_by_reason(skipped: list[OutboxEntry], admin_client: Client) -> None:
    page = admin_client.get("/admin/braze/skippedsync/")
    groups = {group.words: group for group in page.context["groups"]}
    assert {words: group.count for words, group in groups.items()} == {"off": 2, "=HYPERLINK(1)": 1}
    one = admin_client.get("/admin/braze/skippedsync/", {"reason": groups["off"].key})
    assert {entry.error for entry in one.context["cl"].result_list} == {"off"}
    assert len(one.context["cl"].result_list) == 2


def test_reasons_beyond_the_most_frequent_are_told_of(
    skipped: list[OutboxEntry], admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "/admin/braze/skippedsync/"
    monkeypatch.setattr(reasons, "MOST", 2)
    assert "there are more" not in text_of(admin_client.get(page))
    monkeypatch.setattr(reasons, "MOST", 1)
    answer = admin_client.get(page)
    assert [group.words for group in answer.context["groups"]] == ["off"]
    assert "The 1 most frequent reasons; there are more." in text_of(answer)


def test_failed_syncs_come_by_reason_and_day(refused: OutboxEntry, admin_client: Client) -> None:
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


# --- lists --------------------------------------------------------------------------------------------


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


def test_whoever_selects_all_of_a_list_that_is_cut_is_not_told_a_number_that_is_too_small(
    refused: OutboxEntry, admin_client: Client, monkeypatch: Any
) -> None:
    """An action on all of them is about all that match: 2,400 changes were discarded as “all 2000”."""
    OutboxEntry.objects.bulk_create(
        OutboxEntry(account=refused.account, integration="braze", kind="event", status="rejected", error="no")
        for _ in range(FailedSyncAdmin.list_per_page + 3)
    )
    monkeypatch.setattr(CappedPaginator, "most", FailedSyncAdmin.list_per_page + 1)
    page = words(admin_client, "braze/failedsync/")
    assert "All 51+ selected" in page and "Select all 51+ failed syncs" in page
    assert "the newest 51 failed syncs" in page
    assert "51+ results" in words(admin_client, "braze/failedsync/?status=rejected")
    monkeypatch.setattr(CappedPaginator, "most", 2_000)
    page = words(admin_client, "braze/failedsync/")
    assert "All 54 selected" in page and "Select all 54 failed syncs" in page


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

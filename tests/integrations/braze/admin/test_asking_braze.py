"""*Ask Braze* on the page of a failed sync: what Braze holds, beside what is believed here."""

import re

from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from integrations.braze.models import BrazeProfile, BrazeSettings
from integrations.braze.sandbox import SandboxServer
from integrations.outbox.models import OutboxEntry
from tests.integrations.braze.failed_syncs import text_of


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

"""The page of one failed sync: everything to decide by, as it was sent and as Braze answered."""

from django.test import Client
from django.urls import reverse

from integrations.braze.models import BrazePurchase, Delivery
from integrations.outbox.models import OutboxEntry
from tests.integrations.braze.failed_syncs import entry_page, text_of


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

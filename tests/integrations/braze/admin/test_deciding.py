"""What a person who decides about failed syncs may see, and what they are told of what has changed meanwhile."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from integrations.braze.models import BrazeSettings
from integrations.outbox.clock import database_now
from integrations.outbox.models import Kind, OutboxEntry
from masivo_braze.loyalty.models import Account, Customer
from tests.integrations.braze.failed_syncs import act, confirm, said, text_of


def test_what_braze_holds_is_not_shown_to_who_may_decide_but_see_no_payloads(
    unknown: list[OutboxEntry],
    account: Account,
    client: Client,
) -> None:
    person = User.objects.create_user("clerk", is_staff=True)
    account.members.add(person)
    person.user_permissions.add(Permission.objects.get(codename="change_failedsync"))
    client.force_login(person)
    page, ask = (reverse(f"admin:braze_failedsync_{name}", args=(unknown[0].pk,)) for name in ("change", "ask"))
    assert client.post(ask).status_code == 403
    assert "Ask Braze about this customer" not in text_of(client.get(page))
    person.user_permissions.add(Permission.objects.get(codename="view_payloads"))
    assert "Ask Braze about this customer" in text_of(client.get(page))
    assert "Ada" in text_of(client.post(ask))


def test_what_has_come_into_doubt_since_the_page_was_shown_is_asked_about(
    unknown: list[OutboxEntry],
    refused: OutboxEntry,
    admin_client: Client,
) -> None:
    """Somebody else has sent it again meanwhile, and its answer was lost: a third time would double it unnoticed."""
    page = act(admin_client, "send_again", [*unknown, refused])
    warned = ",".join(str(entry.pk) for entry in unknown)
    assert f'name="warned" value="{warned}"' in page
    OutboxEntry.objects.filter(pk=refused.pk).update(status="unknown", error="no answer")
    page = confirm(admin_client, "send_again", page, warned=warned)
    assert "Of 1 change more, Braze's answer was lost since this page was shown." in page
    assert OutboxEntry.objects.filter(status="unknown").count() == 5
    page = confirm(admin_client, "send_again", page, warned=f"{warned},{refused.pk}")
    assert said(page) == ["5 changes to be sent again."]


@pytest.mark.parametrize("action", ["send_again", "treat_as_delivered", "discard"])
def test_a_page_that_is_sent_twice_decides_nothing_twice(
    unknown: list[OutboxEntry], admin_client: Client, action: str
) -> None:
    """By a double click, or by going back: where all was decided, “treat as delivered” said nothing at all."""
    page = act(admin_client, action, unknown)
    confirm(admin_client, action, page, reason="a test")
    decided, traces = list(OutboxEntry.objects.order_by("pk").values()), LogEntry.objects.count()
    left_alone = f"{len(unknown)} changes had meanwhile changed and were left alone."
    assert left_alone in said(confirm(admin_client, action, page, reason="a test"))
    assert left_alone in said(act(admin_client, action, unknown))
    assert (list(OutboxEntry.objects.order_by("pk").values()), LogEntry.objects.count()) == (decided, traces)


@pytest.mark.parametrize("action", ["send_again", "treat_as_delivered", "discard"])
def test_a_page_from_before_it_was_sent_again_is_asked_anew(
    unknown: list[OutboxEntry], admin_client: Client, action: str
) -> None:
    """Its answer was lost again: what the page asked was about the first time, and going back sent it a third time."""
    page = act(admin_client, action, unknown)
    OutboxEntry.objects.filter(pk=unknown[0].pk).update(settled_at=database_now())
    again = confirm(admin_client, action, page, reason="a test")
    assert "1 change was sent, and failed, once more since this page was shown." in again
    assert OutboxEntry.objects.filter(status="unknown").count() == len(unknown)
    confirm(admin_client, action, again, reason="a test")
    assert not OutboxEntry.objects.filter(status="unknown").exists()


def test_the_deletion_of_a_customer_who_exists_again_is_said_to_be_skipped(
    account: Account, braze: BrazeSettings, admin_client: Client
) -> None:
    Customer.objects.create(account=account, external_id="c9")
    deletion = OutboxEntry.objects.create(
        account=account, integration="braze", kind=Kind.CUSTOMER_DELETED, customer_external_id="c9", status="rejected",
        error="no", settled_at=database_now(),
    )  # fmt: skip
    page = act(admin_client, "send_again", [deletion])
    assert said(page) == ["1 change was skipped: the customer exists again, and is not deleted."]
    (trace,) = LogEntry.objects.filter(object_id=str(deletion.pk))
    assert trace.get_change_message() == "Skipped, since the customer exists again"

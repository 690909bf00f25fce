"""What a person who decides about failed syncs may see, and what they are told of what has changed meanwhile."""

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account
from tests.integrations.braze.admin.test_failed_syncs import text_of, unknown  # noqa: F401


def test_what_braze_holds_is_not_shown_to_who_may_decide_but_see_no_payloads(
    unknown: list[OutboxEntry],  # noqa: F811
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

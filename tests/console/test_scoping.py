"""A person sees and acts on the accounts they are a member of; of any other, not even a name."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import site
from django.contrib.auth.models import AnonymousUser, Group, User
from django.test import Client
from django.urls import reverse

from integrations.outbox.models import OutboxEntry
from masivo_braze.console.scoping import accounts_of
from masivo_braze.loyalty.models import Account, Customer, Event
from tests.console.two_accounts import SECRET, merchant, person
from tests.console.urls import Address, addresses

MINE = "visible"


@pytest.fixture
def mine(db: None) -> tuple[Account, dict[str, Any]]:
    return merchant(MINE)


@pytest.fixture
def theirs(db: None) -> tuple[Account, dict[str, Any]]:
    account, records = merchant(SECRET)
    member = person(f"{SECRET}-operator", "Operator", account)
    return account, records | {"auth_user": member.pk, "auth_group": Group.objects.get(name="Operator").pk}


@pytest.fixture(params=["Viewer", "Operator"])
def user(request: pytest.FixtureRequest, mine: tuple[Account, Any], theirs: tuple[Account, Any]) -> User:
    return person("me", request.param, mine[0])


@pytest.fixture
def client(user: User) -> Client:
    """That of a person with every permission that an operator or a viewer can have, on one of two accounts."""
    client = Client()
    client.force_login(user)
    return client


def filled(found: tuple[Account, dict[str, Any]]) -> Iterator[Address]:
    account, records = found[0], {"auth_user": 0, "auth_group": 0, **found[1]}
    others = {"account_id": account.pk, "slug": account.slug, "id": records["auth_user"]}
    return addresses(records, others | {"customer_id": records["loyalty_customer"]})


# --- URLs -----------------------------------------------------------------------------------------------


def test_every_url_of_another_account_is_refused(client: Client, theirs: tuple[Account, dict[str, Any]]) -> None:
    tried = [address for address in filled(theirs) if address.names_a_record]
    assert len(tried) > 40
    answers = {(method, each.name): _status(client, method, each.url) for each in tried for method in ("get", "post")}
    assert {each: status for each, status in answers.items() if status not in (403, 404)} == {}


def _status(client: Client, method: str, url: str) -> int:
    """A page that only takes the other method refuses before it looks: 405."""
    status = int(getattr(client, method)(url).status_code)
    return 404 if status == 405 and method == "get" else status


def test_the_same_urls_of_one_s_own_account_open(client: Client, mine: tuple[Account, dict[str, Any]]) -> None:
    """Else the test above would prove nothing."""
    pages = {each.name: each.url for each in filled(mine) if each.name.endswith("_change") and "auth_" not in each.name}
    assert {name: _status(client, "get", url) for name, url in pages.items()} == dict.fromkeys(pages, 200)


def test_no_page_says_a_word_of_another_account(client: Client, theirs: tuple[Account, dict[str, Any]]) -> None:
    """Lists, searches, filters and forms to add; the query is what somebody could type."""
    queries = ["", f"?q={SECRET}", f"?account__id__exact={theirs[0].pk}", "?all="]
    for address in filled(theirs):
        for query in [] if address.names_a_record else queries:
            page = b"".join(client.get(f"{address.url}{query}", follow=True)).decode()  # an export is streamed
            for typed in (f'value="{SECRET}"', f"q={SECRET}", f"q%3D{SECRET}"):  # what was searched for is repeated
                page = page.replace(typed, "")
            assert SECRET not in page, f"{address.name}{query}"


def test_one_s_own_records_are_on_the_lists(client: Client, mine: tuple[Account, Any]) -> None:
    for model in ("loyalty_customer", "loyalty_membership", "braze_failedsync", "braze_delivery", "outbox_outboxentry"):
        assert MINE in client.get(reverse(f"admin:{model}_changelist")).content.decode()


def test_an_unknown_record_is_not_found(client: Client) -> None:
    assert client.get(reverse("admin:loyalty_customer_change", args=[0])).status_code == 404


# --- choices --------------------------------------------------------------------------------------------

AUTOCOMPLETED = [
    ("loyalty", "event", "customer"),
    ("loyalty", "event", "account"),
    ("loyalty", "membership", "audience"),
    ("loyalty", "orderline", "order"),
    ("braze", "brazesettings", "account"),
]


@pytest.mark.parametrize("choice", AUTOCOMPLETED)
def test_autocompletion_offers_one_s_own(client: Client, choice: tuple[str, str, str]) -> None:
    app, model, field = choice
    query = {"app_label": app, "model_name": model, "field_name": field}
    answer = client.get(reverse("admin:autocomplete"), {**query, "term": ""})
    assert answer.status_code == 200
    texts = [result["text"] for result in answer.json()["results"]]
    assert texts and not [text for text in texts if SECRET in text]


def test_a_form_takes_no_record_of_another_account(mine: Any, theirs: Any) -> None:
    client = Client()
    client.force_login(person("operator", "Operator", mine[0]))
    form = {"occurred_at_0": "2026-05-01", "occurred_at_1": "12:00:00", "type": "VISIT", "data": "{}"}
    form |= {"account": theirs[0].pk, "customer": theirs[1]["loyalty_customer"]}
    before = Event.objects.count()
    answer = client.post(reverse("admin:loyalty_event_add"), form)
    assert set(answer.context["adminform"].form.errors) == {"account", "customer"}
    assert Event.objects.count() == before


# --- actions --------------------------------------------------------------------------------------------


def test_an_action_passes_over_another_account_s_records(mine: Any, theirs: Any) -> None:
    client = Client()
    client.force_login(person("operator", "Operator", mine[0]))
    chosen = theirs[1]["braze_failedsync"]
    url = reverse("admin:braze_failedsync_changelist")
    for form in ({"_selected_action": chosen}, {"_selected_action": mine[1]["braze_failedsync"], "chosen": chosen}):
        client.post(url, {"action": "discard", "reason": "a try", **form})
        client.post(url, {"action": "send_again", **form})
    assert OutboxEntry.objects.get(pk=chosen).status == "rejected"
    client.post(
        reverse("admin:loyalty_customer_changelist"),
        {"action": "delete_selected", "_selected_action": theirs[1]["loyalty_customer"], "post": "yes"},
    )
    assert Customer.objects.filter(pk=theirs[1]["loyalty_customer"]).exists()


# --- who has which accounts -----------------------------------------------------------------------------


def test_a_superuser_has_all_accounts_and_a_stranger_none(mine: Any, theirs: Any, admin_user: User) -> None:
    assert set(accounts_of(admin_user)) == {mine[0], theirs[0]}
    assert set(accounts_of(AnonymousUser())) == set()
    assert set(accounts_of(person("me", "Viewer", mine[0]))) == {mine[0]}
    assert set(accounts_of(person("nobody", "Operator"))) == set()


def test_a_viewer_changes_nothing_and_sees_no_payload(mine: Any) -> None:
    client = Client()
    client.force_login(person("viewer", "Viewer", mine[0]))
    settings = reverse("admin:braze_brazesettings_change", args=[mine[1]["braze_brazesettings"]])
    assert client.post(settings, {"is_enabled": ""}).status_code == 403
    assert client.post(reverse("admin:braze_failedsync_ask", args=[mine[1]["braze_failedsync"]])).status_code == 403
    assert (
        "Payload"
        not in client.get(reverse("admin:braze_delivery_change", args=[mine[1]["braze_delivery"]])).content.decode()
    )
    client.force_login(person("operator", "Operator", mine[0]))
    assert (
        "Payload"
        in client.get(reverse("admin:braze_delivery_change", args=[mine[1]["braze_delivery"]])).content.decode()
    )


@pytest.mark.parametrize(
    ("model", "values", "personal"),
    [("brazeprofile", {"attributes": {"first_name": "Augusta"}, "refused": {"phone": "+44 Augusta"}}, "Augusta"),
     ("brazepurchase", {"properties": {"engraving": "for Augusta"}}, "Augusta")],
)  # fmt: skip
def test_what_braze_holds_of_a_person_needs_the_permission_of_payloads(
    mine: Any, model: str, values: dict[str, Any], personal: str
) -> None:
    record = mine[1][f"braze_{model}"]
    site.get_model_admin(apps.get_model("braze", model)).model.objects.filter(pk=record).update(**values)
    client, page = Client(), reverse(f"admin:braze_{model}_change", args=[record])
    for group, is_shown in (("Viewer", False), ("Operator", True)):
        client.force_login(person(group.lower(), group, mine[0]))
        answer = client.get(page)
        assert answer.status_code == 200
        assert (personal in answer.content.decode()) is is_shown
        assert ("Can view payloads" in answer.content.decode()) is not is_shown

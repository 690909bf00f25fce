"""Addresses and forms that no page of the console makes: a plain word, never a 500."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from integrations.outbox.models import OutboxEntry
from masivo_braze.console.nul import without_nul
from masivo_braze.loyalty.models import Account, Customer
from tests.console.two_accounts import merchant

LONG, HUGE = "9" * 4_400, "9" * 30


@pytest.fixture
def shop(db: None) -> tuple[Account, dict[str, Any]]:
    return merchant("shop")


@pytest.mark.parametrize(
    "path",
    [
        "braze/failedsync/?day=9999-12-31",
        "braze/failedsync/export/?day=9999-12-31",
        "braze/skippedsync/?day=9999-12-31",
        "braze/skippedsync/export/?day=9999-12-31",
        "braze/delivery/?day=9999-12-31",
        "braze/failedsync/?settled_at__year=99999",
        "braze/skippedsync/export/?settled_at__year=99999",
        "loyalty/event/?occurred_at__year=99999",
        "loyalty/order/?placed_at__year=99999",
    ],
)
def test_a_day_that_no_calendar_has_filters_nothing(
    admin_client: Client, shop: tuple[Account, dict[str, Any]], path: str
) -> None:
    assert admin_client.get(f"/admin/{path}", follow=True).status_code == 200


@pytest.mark.parametrize("value", ["zz", HUGE, LONG, ""])
@pytest.mark.parametrize(
    "field",
    [
        "customer/add/?account",
        "customer/add/?tags",
        "event/add/?data",
        "order/add/?customer",
        "order/add/?placed_at",
        "account/add/?members",
    ],
)
def test_a_form_is_begun_without_what_its_field_cannot_hold(admin_client: Client, field: str, value: str) -> None:
    assert admin_client.get(f"/admin/loyalty/{field}={value}").status_code == 200


def test_a_form_is_begun_with_what_the_address_says(admin_client: Client, shop: tuple[Account, dict[str, Any]]) -> None:
    customer = shop[1]["loyalty_customer"]
    page = f"/admin/loyalty/order/add/?customer={customer}&placed_at=2024-05-01&order_id=o7"
    form = admin_client.get(page).context["adminform"].form
    assert form["customer"].initial == customer
    assert 'value="2024-05-01"' in str(form["placed_at"])
    assert 'value="o7"' in str(form["order_id"])


@pytest.mark.parametrize("chosen", ["zz", HUGE, LONG, "\0", ""])
def test_an_action_on_what_is_no_record_says_so(
    admin_client: Client, shop: tuple[Account, dict[str, Any]], chosen: str
) -> None:
    form = {"action": "delete_selected", "_selected_action": [chosen], "post": "yes"}
    answer = admin_client.post("/admin/loyalty/customer/", form, follow=True)
    assert answer.status_code == 200
    assert "What was chosen is no customer." in answer.content.decode()
    assert Customer.objects.exists()


@pytest.mark.parametrize("page", ["loyalty/customer", "braze/failedsync", "braze/failedsync/export", "braze/arrival"])
@pytest.mark.parametrize("name", ["status", "reason", "status__exact", "kind__exact", "outcome__exact", "q", "term"])
def test_nul_is_refused_before_any_page_looks_for_it(admin_client: Client, page: str, name: str) -> None:
    answer = admin_client.get(f"/admin/{page}/?{name}=a%00b")
    assert (answer.status_code, answer.content) == (400, b"An address cannot hold the character NUL.")


@pytest.mark.parametrize(
    ("address", "status"), [("/?a=%00", 400), ("/%00/", 400), ("/?a=%2500", 200), ("/a/?b=c", 200)]
)
def test_nul_is_what_the_address_says_not_how_it_looks(address: str, status: int) -> None:
    def answered(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert without_nul(answered)(RequestFactory().get(address)).status_code == status


def test_failed_syncs_are_left_alone_by_ids_that_are_none(
    admin_client: Client, shop: tuple[Account, dict[str, Any]]
) -> None:
    before = list(OutboxEntry.objects.order_by("pk").values_list("pk", "status"))
    for action in ("send_again", "treat_as_delivered", "discard"):
        for chosen in ("", ",", "zz", HUGE, LONG):
            for reason in ("", "a reason"):
                form = {"action": action, "_selected_action": ["1"], "chosen": chosen, "reason": reason}
                answer = admin_client.post("/admin/braze/failedsync/", form, follow=True)
                assert (answer.status_code, "Nothing was chosen." in answer.content.decode()) == (200, True)
    assert list(OutboxEntry.objects.order_by("pk").values_list("pk", "status")) == before


def test_purchases_are_told_by_ids_of_this_database(admin_client: Client, shop: tuple[Account, dict[str, Any]]) -> None:
    failed = shop[1]["braze_failedsync"]
    for number in (HUGE, LONG, "zz"):
        form = {"action": "treat_as_delivered", "_selected_action": ["1"], "chosen": failed}
        answer = admin_client.post(
            "/admin/braze/failedsync/", form | {"listed": number, "arrived": number}, follow=True
        )
        assert answer.status_code == 200

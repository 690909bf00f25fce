"""What somebody asks about is found in whichever account has it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from integrations.braze.console import search
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account

pytestmark = pytest.mark.django_db


@pytest.fixture
def shops() -> list[Account]:
    return [Account.objects.create(name=f"Shop {number}", slug=f"shop-{number}") for number in range(12)]


@pytest.mark.parametrize("status", ["pending", "buffered", "delivered", "rejected"])
def test_who_is_known_by_captured_changes_alone_is_found_in_each_account_that_has_some(
    shops: list[Account], status: str
) -> None:
    for shop, name in ((shops[3], "gone"), (shops[9], "gone"), (shops[5], "other")):
        OutboxEntry.objects.create(
            account=shop, integration="braze", kind="event", customer_external_id=name, status=status
        )
    found = search.search("gone", shops[:9])
    assert [(one.account, one.customer) for one in found] == [(shops[3], "gone")]


def test_more_accounts_are_no_more_queries(shops: list[Account]) -> None:
    def asked(accounts: list[Account]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert search.search("nobody", accounts) == []
        return len(queries)

    assert asked(shops) == asked(shops[:1]) > 0

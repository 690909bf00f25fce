"""Limits that no form would take, as a script may have saved them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from integrations.braze.delivery import limiter
from integrations.braze.models import BrazeSettings, Endpoint
from integrations.outbox.clock import database_now
from integrations.outbox.models import OutboxEntry
from masivo_braze.loyalty.models import Account, Customer


@pytest.mark.parametrize("values", [{"window_seconds": 0}, {"calls_per_window": 0}])
def test_a_limit_of_nothing_hurts_neither_health_nor_who_shares_the_key(
    account: Account, braze: BrazeSettings, admin_client: Client, values: dict[str, Any]
) -> None:
    """Zero counts as one, the least that a form takes."""
    Customer.objects.create(account=account, external_id="c1")
    OutboxEntry.objects.update(created_at=database_now() - timedelta(hours=1))
    BrazeSettings.objects.update(**values)
    other = Account.objects.create(name="Other", slug="other")
    sharing = BrazeSettings.objects.create(account=other, api_key=braze.api_key, rest_endpoint=braze.rest_endpoint)
    for page in ("", f"{account.slug}/", f"{other.slug}/"):
        assert admin_client.get(f"/admin/braze/accounthealth/{page}").status_code == 200
    limit = limiter.limit_of(sharing, Endpoint.TRACK)
    assert limit.spacing_us > 0 and limit == limiter.limits_of([sharing], Endpoint.TRACK)[other.pk]

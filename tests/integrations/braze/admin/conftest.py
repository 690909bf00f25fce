"""The settings page, of an account that may have an address of Braze's own."""

import pytest
from django.test import Client

from masivo_braze.loyalty.models import Account
from tests.integrations.braze.admin.settings_page import Page


@pytest.fixture
def page(admin_client: Client, account: Account, settings) -> Page:
    settings.BRAZE_ALLOW_REAL_HOSTS = True
    return Page(admin_client, account)
